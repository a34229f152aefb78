"""The records of the survey of all models, from the rows of ``vtbench profile 'timm:*' 'torchvision:*' --out FILE``.

``python -m vtbench.profiling.survey_zoo FILE`` adds to each model what explains the numbers that others print for it,
from one more trace, and writes ``zoo.csv`` to ``reports/profiler``, of which the page is made.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vtbench.documents.table import to_csv
from vtbench.errors import UserError
from vtbench.files import publish_text
from vtbench.profiling.arguments import make_arguments
from vtbench.profiling.compare_tools import named_fused_attention
from vtbench.profiling.deployment import fuse_subject, list_mergeable
from vtbench.profiling.shortcuts import NOT_PLAIN, SHORTCUTS, DispatchMode, take_shortcut
from vtbench.profiling.sources import Source, make_subject, resolve_source
from vtbench.profiling.storage import count_parameters, find_idle_parameters
from vtbench.profiling.subject import Subject, copy_to_meta
from vtbench.profiling.survey import DEFAULT_FOLDER
from vtbench.profiling.trace import MULTIPLY_AND_SUM, Trace, trace_forward
from vtbench.profiling.walking import Contents
from vtbench.records import load_lines
from vtbench.records.profile import ZooEntry, ZooRow

_NORMS = {"aten::native_batch_norm": 1, "aten::native_layer_norm": 2, "aten::native_group_norm": 1}
"""Norms and the place of their weight among the arguments."""
_RESIZED = {"aten::upsample_nearest2d": 1, "aten::upsample_bilinear2d": 4}


class NormsAndPools(DispatchMode):  # type: ignore[no-untyped-call]
    """Sums what fvcore 0.1.5 counts for norms and resizing while active."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator."""
        out = take_shortcut(SHORTCUTS.get(func), args, kwargs or {})
        if out is NOT_PLAIN:
            out = func(*args, **(kwargs or {}))
        name = str(func._schema.name)
        if name in _NORMS:
            known = name == "aten::native_batch_norm" and not args[5]  # Means and deviations are not computed.
            with_weight, without = (2, 1) if known else (5, 4)
            self.total += args[0].numel() * (without if args[_NORMS[name]] is None else with_weight)
        elif name in _RESIZED:
            self.total += out.numel() * _RESIZED[name]
        return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the records."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, help="the file of rows")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="the folder to write to")
    options = parser.parse_args(arguments)
    rows = [row for row in load_lines(options.rows, ZooRow) if ":" in row.model]
    entries = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Libraries announce their own deprecations.
        for row in sorted(rows, key=lambda row: row.model):
            entries.append(enrich_row(row))
    publish_text(options.out / "zoo.csv", to_csv(_flatten(entry) for entry in entries))


def enrich_row(row: ZooRow) -> ZooEntry:
    """A row with what other counters leave out or add."""
    entry = ZooEntry(
        model=row.model,
        input_size="x".join(map(str, row.input_size[1:])),
        macs=row.macs,
        params=row.params,
        covered_macs=row.covered_macs,
        refused=row.refused,
    )
    if row.macs is None:
        return entry
    try:
        source = resolve_source(row.model)
        subject = make_subject(source)
        assert subject.meta is not None
        entry = entry.model_copy(update=_explain(source, subject))
        if not list_mergeable(subject.meta):
            return entry
        fused = fuse_subject(subject)
        assert fused.meta is not None
        params = count_parameters(Contents(fused.meta)).total
        found = _explain(source, fused)
    except (UserError, RuntimeError, NotImplementedError):
        return entry  # It needs values, so that what others print is not explained.
    return entry.model_copy(
        update={
            "deployed_macs": row.macs - entry.traced_macs + found["traced_macs"],
            "deployed_params": params,
            "deployed_norms_and_pools": found["norms_and_pools"],
        }
    )


def _explain(source: Source, subject: Subject) -> dict[str, int]:
    """What one form of a model spends on what other counters leave out, and what they add."""
    assert subject.meta is not None
    model = copy_to_meta(subject.meta).eval()
    arguments = make_arguments(source.plan_inputs(1), model, torch.device("meta"))
    with named_fused_attention():
        trace = trace_forward(model, arguments)
    counter = NormsAndPools()
    with torch.no_grad(), counter:
        arguments.call(model)
    pooled = (call for call in trace.calls if isinstance(call.module, nn.AdaptiveAvgPool2d) and call.input_shapes)
    return {
        "traced_macs": trace.total_macs,
        "idle_params": find_idle_parameters(Contents(model), trace.used)[0],
        "fused_attention": _sum_macs(trace, "aten::scaled_dot_product_attention"),
        "by_hand": _sum_macs(trace, MULTIPLY_AND_SUM),
        "same_padding": _sum_own(trace, lambda module: getattr(module, "padding", None) == "same"),
        "recurrent": _sum_own(trace, lambda module: isinstance(module, nn.RNNBase)),
        "norms_and_pools": counter.total + sum(prod(call.input_shapes[0]) for call in pooled),
    }


def _sum_macs(trace: Trace, operator: str) -> int:
    return sum(macs for (_, name), macs in trace.macs.items() if name == operator)


def _sum_own(trace: Trace, wanted: Callable[[nn.Module], bool]) -> int:
    return sum(call.own_macs for call in trace.calls if wanted(call.module))


def _flatten(entry: ZooEntry) -> Mapping[str, Any]:
    """Zeros are left blank, so that the file stays small."""
    return {name: value or None for name, value in entry.model_dump(exclude={"traced_macs"}).items()}


if __name__ == "__main__":
    main()
