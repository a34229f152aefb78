"""Profiles of models: a table for readers, JSON and CSV for machines, Markdown and LaTeX for papers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from vtbench.documents.table import (
    NOTHING,
    Table,
    escape_latex,
    make_table,
    to_csv,
    to_latex,
    to_markdown,
    to_plain_json,
)
from vtbench.documents.terminal import lay_out, print_text
from vtbench.records import NotMeasured
from vtbench.records.profile import Difference, Measurement, Profile, ToolOpinion
from vtbench.reporting.profile_timing import count_peak, describe_measuring, show_measurements
from vtbench.units import (
    choose_byte_scale,
    choose_scale,
    format_bytes,
    format_count,
    format_fine,
    format_items,
    format_share,
)

_MOST_MISSED = 4
"""Operators left out that a table names; JSON has all."""
_MOST_IDLE = 4
"""Parts that never run that a table names."""


@dataclass
class ProfiledModel:
    """All that is known of one model."""

    profile: Profile
    difference: Difference | None = None
    tools: tuple[ToolOpinion, ...] = ()
    measured: Measurement | NotMeasured | None = None


def print_profiles(found: Sequence[ProfiledModel], console: Console, *, splits: Sequence[str], depth: int) -> None:
    """What readers see of ``found``: of one model its facts, else a table of all; then the splits of the MACs."""
    if len(found) == 1:
        profile = found[0].profile
        print_text(f"{profile.model} on {_list_inputs(profile)}", console)
        for name, text in _describe(profile):
            print_text(f"  {name:<12} {text}", console)
    for table in _lay_out(found, splits, depth, single=len(found) == 1):
        if table.title:
            print_text(f"\n{table.title}", console)
        console.print(lay_out(table, look="framed"))
    for note in _collect_notes(found):
        print_text(f"note: {note}", console)


def render_profiles(found: Sequence[ProfiledModel], text_format: str, *, splits: Sequence[str], depth: int) -> str:
    """``found`` as json, csv, markdown or latex; a CSV with splits has a row a part of each model instead of one."""
    if text_format == "json":
        return to_plain_json([_to_plain(findings) for findings in found])
    if text_format == "csv":
        return to_csv(row for findings in found for row in _list_numbers(findings, splits, depth))
    markdown = text_format == "markdown"
    tables = []
    single = len(found) == 1
    facts = [_tabulate_facts(found[0].profile)] if single else []
    for table in (*facts, *_lay_out(found, splits, depth, single=single)):
        title = f"{'###' if markdown else '%'} {table.title}\n" + "\n" * markdown if table.title else ""
        tables.append(title + (to_markdown(table) if markdown else to_latex(table)))
    notes = (f"\n> {note}\n" if markdown else f"% {escape_latex(note)}\n" for note in _collect_notes(found))
    return "\n".join(tables) + "".join(notes)


def _to_plain(findings: ProfiledModel) -> dict[str, Any]:
    entry = findings.profile.model_dump(mode="json")
    if findings.difference is not None:
        entry["against"] = findings.difference.model_dump(mode="json")
    if findings.tools:
        entry["tools"] = [opinion.model_dump(mode="json") for opinion in findings.tools]
    if findings.measured is not None:
        entry["measured"] = findings.measured.model_dump(mode="json")
    return entry


def _list_numbers(findings: ProfiledModel, splits: Sequence[str], depth: int) -> Iterator[dict[str, Any]]:
    profile = findings.profile
    if splits:
        for split in splits:
            for name, macs, *_ in _split(profile, split, depth):
                yield {"model": profile.model, "split": split, "part": name, "macs": macs}
        return
    kept, training, measured = profile.activations, profile.training, findings.measured
    ways = (profile.macs, *(profile.value_dependence.macs if profile.value_dependence else ()))
    yield {
        "model": profile.model,
        "macs": profile.macs,
        "params": profile.params,
        "input_size": _list_inputs(profile),
        "trainable_params": profile.parameters.trainable,
        "idle_params": profile.parameters.idle,
        "buffers": profile.parameters.buffers,
        "activation_elements": getattr(kept, "elements", None),
        "activation_bytes": getattr(kept, "bytes", None),
        "macs_lowest": min(ways),
        "macs_highest": max(ways),
        "covered_macs": profile.covered_macs,
        "training_step_macs": getattr(training, "macs", None),
        "latency_ms": getattr(measured, "latency_ms", None),
        "cpu_ms": getattr(measured, "cpu_ms", None),
        "images_per_second": getattr(measured, "images_per_second", None),
        "peak_memory_bytes": count_peak(findings),
        "notes": "; ".join(_collect_notes([findings])),
    }


def _lay_out(found: Sequence[ProfiledModel], splits: Sequence[str], depth: int, *, single: bool) -> Iterator[Table]:
    if not found:
        return
    if not single:
        yield _summarize(found)
    default = ("stage", "role") if single and not any(findings.difference for findings in found) else ()
    for findings in found:
        for split in splits or default:
            yield _show_split(findings.profile, split, depth)
        if findings.difference is not None:
            yield _show_difference(findings.profile, findings.difference)
        if findings.tools:
            yield _show_tools(findings.profile, findings.tools)
    if any(findings.measured is not None for findings in found):
        yield show_measurements(found)


def _summarize(found: Sequence[ProfiledModel]) -> Table:
    backward = any(findings.profile.training is not None for findings in found)
    step_of = {id(one): getattr(one.profile.training, "macs", None) for one in found}
    scale = choose_scale(findings.profile.macs for findings in found)
    of_params = choose_scale(findings.profile.params for findings in found)
    of_steps = choose_scale(step for step in step_of.values() if step is not None)
    of_bytes = choose_byte_scale(size for one in found if (size := _count_kept(one.profile)) is not None)
    titles = (scale.entitle("MACs"), of_params.entitle("params"), of_bytes.entitle("kept"))
    header = ("model", "input", *titles, *((of_steps.entitle("step"),) if backward else ()))
    rows = []
    for findings in found:
        profile = findings.profile
        kept = _count_kept(profile)
        row = [
            profile.model,
            " + ".join(_shape(one.shape[1:]) for one in profile.inputs),
            scale.show(profile.macs),
        ]
        row += [of_params.show(profile.params), NOTHING if kept is None else of_bytes.show_fine(kept)]
        if backward:
            step = step_of[id(findings)]
            row.append(NOTHING if step is None else of_steps.show(step))
        rows.append(tuple(row))
    return make_table(header, rows, numbers=header[2:])


def _show_split(profile: Profile, split: str, depth: int) -> Table:
    total, scale = max(profile.macs, 1), choose_scale([profile.macs])
    macs_title = scale.entitle("MACs")
    header: tuple[str, ...] = (split, macs_title, "%")
    rows: list[tuple[str, ...]]
    if split == "operator":
        header = ("operator", "runs", macs_title, "verdict")
        rows = [
            (cost.name.removeprefix("aten::"), str(cost.runs), scale.show(cost.macs), cost.verdict)
            for cost in profile.operators
        ]
    elif split == "module":
        of_params = choose_scale([profile.params])
        header = ("module", "kind", macs_title, "%", of_params.entitle("params"))
        rows = [
            ("  " * level + name, kind, scale.show(macs), _show_share(macs, total), of_params.show(params))
            for name, macs, level, kind, params in _split(profile, split, depth)
        ]
    else:
        parts = _split(profile, split, depth)
        rows = [(name, scale.show(macs), _show_share(macs, total)) for name, macs, *_ in parts]
    words = (split, "kind", "verdict")
    numbers = [title for title in header if title not in words]
    return make_table(header, rows, numbers=numbers, title=f"{profile.model} by {split}")


def _show_share(macs: int, total: int) -> str:
    """A share in percent on one digit after the point, 100.0 too, since all stand in one column."""
    return "<0.1" if 0 < 100 * macs / total < 0.05 else f"{100 * macs / total:.1f}"


def _count_kept(profile: Profile) -> int | None:
    """Bytes that are kept for the backward pass."""
    return getattr(profile.activations, "bytes", None)


def _split(profile: Profile, split: str, depth: int) -> Iterator[tuple[Any, ...]]:
    """(name, MACs) of each part; for modules also level, class and parameters."""
    if split == "module":
        for module in profile.modules:
            level = module.path.count(".") + 1 if module.path else 0
            if level <= depth:
                yield module.path or profile.model, module.macs, level, module.kind, module.params
    elif split == "operator":
        yield from ((cost.name, cost.macs) for cost in profile.operators)
    else:
        yield from ((part.name, part.macs) for part in (profile.stages if split == "stage" else profile.roles))


def _show_difference(profile: Profile, difference: Difference) -> Table:
    rows = []
    scale = choose_scale(max(part.this, part.other) for part in difference.parts if part.group != "operator")
    for part in difference.parts:
        if part.group == "operator":
            continue
        name = part.name if part.group in ("total", "parameters") else f"{part.group}: {part.name}"
        ratio = "new" if part.ratio is None else f"{format_fine(part.ratio, digits=2)}x" if part.this else "gone"
        rows.append((name, scale.show(part.other), scale.show(part.this), ratio))
    title = f"{profile.model} against {difference.other}"
    header = (scale.entitle("part"), difference.other, profile.model, f"{profile.model} / {difference.other}")
    return Table(header, tuple(rows), (False, True, True, True), title)


def _show_tools(profile: Profile, tools: Sequence[ToolOpinion]) -> Table:
    scale = choose_scale([profile.macs])
    rows = [("vtbench", scale.show(profile.macs), "1.000", "")]
    for opinion in tools:
        tool = f"{opinion.tool} {opinion.version or ''}".rstrip()
        if not isinstance(opinion.macs, int):
            rows.append((tool, NOTHING, NOTHING, opinion.macs.reason))
            continue
        ratio = format_fine(opinion.macs / profile.macs, digits=3) if profile.macs else NOTHING
        rows.append((tool, scale.show(opinion.macs), ratio, _explain(opinion)))
    header = ("tool", scale.entitle("MACs"), "ratio", "why")
    return make_table(header, rows, numbers=header[1:3], title=f"{profile.model}: what tools print")


def _explain(opinion: ToolOpinion) -> str:
    parts = [f"misses {name} ({format_count(macs)})" for name, macs in opinion.missed[:_MOST_MISSED]]
    rest = opinion.missed[_MOST_MISSED:]
    if rest:
        parts.append(f"and {format_items(len(rest), 'kind')} more ({format_count(sum(macs for _, macs in rest))})")
    if opinion.extra_macs:
        parts.append(f"counts {format_count(opinion.extra_macs)} else (norms, biases and the like, or in no module)")
    return "; ".join(parts) or "the same"


def _collect_notes(found: Sequence[ProfiledModel]) -> Iterator[str]:
    several = len(found) > 1
    for findings in found:
        profile = findings.profile
        lead = f"{profile.model}: " if several else ""
        yield from (f"{lead}{note}" for note in profile.notes)
        for value, name in ((profile.activations, "activations"), (profile.training, "training step")):
            if isinstance(value, NotMeasured):
                yield f"{lead}{name} not counted: {value.reason}"
        if isinstance(findings.measured, NotMeasured):
            yield f"{lead}not measured: {findings.measured.reason}"
    yield from describe_measuring(found)


def _tabulate_facts(profile: Profile) -> Table:
    return make_table((profile.model, _list_inputs(profile)), _describe(profile))


def _describe(profile: Profile) -> Iterator[tuple[str, str]]:
    """What is known of one model: names and texts."""
    sizes = profile.parameters
    varies = profile.value_dependence is not None and len(profile.value_dependence.macs) > 1
    yield "MACs", f"{format_count(profile.macs)} ({profile.macs:,}{', for the values drawn' if varies else ''})"
    frozen = f", {sizes.frozen:,} frozen" if sizes.frozen else ""
    yield "parameters", f"{format_count(profile.params)} ({profile.params:,}{frozen}); {sizes.buffers:,} in buffers"
    if sizes.idle:
        parts = ", ".join(sizes.idle_parts[:_MOST_IDLE]) + (", ..." if len(sizes.idle_parts) > _MOST_IDLE else "")
        yield "idle", f"{format_count(sizes.idle)} ({sizes.idle:,}) of the parameters never run: {parts}"
    bytes_ = ", ".join(f"{format_bytes(size)} {dtype}" for dtype, size in sizes.bytes_by_dtype.items())
    yield "weights", bytes_ or "none"
    kept = profile.activations
    if not isinstance(kept, NotMeasured):
        yield "activations", f"{format_bytes(kept.bytes)} kept for the backward pass ({kept.elements:,} numbers)"
    step = profile.training
    if step is not None and not isinstance(step, NotMeasured):
        forward, backward = format_count(step.forward_macs), format_count(step.backward_macs)
        yield "training", f"{format_count(step.macs)} a step: {forward} forward, {backward} backward"
    twice = profile.covered_macs - profile.stated_only_macs
    share = "every MAC" if twice == profile.macs else f"{format_share(twice, profile.macs)} % of MACs"
    yield "checked", f"trace and closed forms agree on {share}{' of this pass' if varies else ''}"


def _list_inputs(profile: Profile) -> str:
    """The shape of the only input, or each with its name."""
    if len(profile.inputs) < 2:
        return _shape(profile.input_size)
    return ", ".join(f"{one.name} {_shape(one.shape)}" for one in profile.inputs)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
