"""Our counts beside fvcore's, over the classification models of torchvision and every family of timm.

``python -m vtbench.profiling.survey`` writes ``survey.jsonl`` and ``environment.json`` to ``reports/profiler``, of
which ``python -m vtbench.reporting.committed`` makes the page. It goes on where it was stopped; models that are in the
file already are not counted again.
"""

from __future__ import annotations

import argparse
import gc
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from vtbench.environment import describe_environment
from vtbench.errors import UserError
from vtbench.profiling.compare_tools import confined, list_operators, trace_operators
from vtbench.profiling.errors import summarize_exception
from vtbench.profiling.free_operators import find_reason_free
from vtbench.profiling.profile import profile_source
from vtbench.profiling.sources import Source, resolve_source
from vtbench.records import NotMeasured, load_lines, save_lines, save_record
from vtbench.records.profile import FvcoreCount, Profile, SurveyEntry
from vtbench.units import format_bytes

DEFAULT_FOLDER = Path("reports/profiler")
_PER_FAMILY = 2
_MOST_KEPT_BYTES = 4 * 2**30
_SMALL = re.compile(r"nano|pico|femto|atto|tiny|small|xxs|_xs|_s\d?$|_s_|_t\d?$|_t_|b0|18|_050|mini|26|_n\d|_m0|_m1")
_OURS = {"convolution": "convolution", "scaled_dot_product_attention": "fused attention"}
_THEIRS = {"conv": "convolution"}
_PRODUCTS = {"addmm", "linear", "matmul", "bmm", "einsum", "baddbmm", "mv", "mm"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Count what is missing in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="the folder to write to")
    parser.add_argument("--only", help="only models whose name contains this text")
    options = parser.parse_args(arguments)
    records = options.out / "survey.jsonl"
    entries = {entry.model: entry for entry in load_lines(records, SurveyEntry)} if records.exists() else {}
    for name in list_models():
        if name in entries or (options.only and options.only not in name):
            continue
        entries[name] = survey_model(name)
        gc.collect()  # The tools leave whole models behind in reference cycles.
        save_lines(records, (entries[known] for known in sorted(entries)))
    save_record(options.out / "environment.json", describe_environment(torch.device("cpu")))


def list_models() -> list[str]:
    """Every classification model of torchvision, and of each family of timm those that sound smallest."""
    import timm
    from torchvision import models

    names = [f"torchvision:{name}" for name in models.list_models(module=models)]
    for family in timm.list_modules():
        members = timm.list_models(module=family)
        members.sort(key=lambda name: (_SMALL.search(name) is None, len(name), name))
        names += [f"timm:{name}" for name in members[:_PER_FAMILY]]
    return names


def survey_model(name: str) -> SurveyEntry:
    """Count one model, ask fvcore about it, and take the difference apart."""
    try:
        source = resolve_source(name)
        shape = (1, source.channels, *source.image_size)
        counted = profile_source(source)
    except UserError as error:
        return SurveyEntry(model=name, refused=" ".join(str(error).removeprefix(f"{name}: ").split()))
    groups = sum(list_operators(trace_operators(source, shape)).values(), Counter[str]())
    return SurveyEntry(
        model=name,
        input_size=shape,
        macs=counted.macs,
        params=counted.params,
        covered_macs=counted.covered_macs,
        notes=counted.notes,
        fvcore=_ask_fvcore(source, counted, groups),
    )


def _ask_fvcore(source: Source, counted: Profile, groups: Counter[str]) -> FvcoreCount | str:
    kept = counted.activations
    if not isinstance(kept, NotMeasured) and kept.bytes > _MOST_KEPT_BYTES:
        return f"not asked: it runs with values and would keep {format_bytes(kept.bytes)}"
    try:
        with confined(source, counted.input_size) as (model, image):
            from fvcore.nn import FlopCountAnalysis

            analysis = FlopCountAnalysis(model, image)
            analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
            by_operator, ignored = analysis.by_operator(), analysis.unsupported_ops()
    except Exception as error:  # It fails in ways of its own.
        return f"fails: {summarize_exception(error)}"
    return take_apart(groups, {name: int(macs) for name, macs in by_operator.items()}, ignored)


def take_apart(groups: Counter[str], theirs: dict[str, int], ignored: Iterable[str]) -> FvcoreCount:
    """The difference of both counts by kind of operator; the parts sum to it.

    ``groups`` are our MACs by "operator in kind of module", ``theirs`` fvcore's by its own names, ``ignored`` the
    operators that it saw and did not count.
    """
    parts: Counter[str] = Counter()
    for group, macs in groups.items():
        operator = group.partition(" in ")[0]
        parts[_OURS.get(operator, "matrix products" if operator in _PRODUCTS else operator)] += macs
    for operator, macs in theirs.items():
        parts[_THEIRS.get(operator, "matrix products" if operator in _PRODUCTS else operator)] -= macs
    return FvcoreCount(
        macs=sum(theirs.values()),
        differences={name: macs for name, macs in sorted(parts.items()) if macs},
        ignored=tuple(sorted(name for name in ignored if find_reason_free(_modern(name)) is None)),
    )


def _modern(operator: str) -> str:
    """The name under which a traced operator runs: ``aten::expand_as`` is an expansion, and so on."""
    return {"aten::pad": "aten::constant_pad_nd", "aten::tile": "aten::repeat"}.get(operator, operator).removesuffix(
        "_as"
    )


if __name__ == "__main__":
    main()
