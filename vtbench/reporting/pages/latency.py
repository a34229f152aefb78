"""The page of latency against MACs of the small networks, written from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from vtbench.documents.figures import save_figure
from vtbench.documents.table import NOTHING, Table, list_items, make_table, to_markdown
from vtbench.files import publish_set, publish_text
from vtbench.metrics import Metric
from vtbench.records import NotMeasured, load_lines
from vtbench.records.measured import LatencyEntry
from vtbench.records.profile import Measurement
from vtbench.reporting.measured_tables import Timed, find_conflicts, list_unsettled, tell_conflicts
from vtbench.reporting.pages.page import PAGES, Page
from vtbench.reporting.scatter import Point, draw_points
from vtbench.reporting.style import PNG_DPI, house_style
from vtbench.units import format_items, format_millions

TITLE = "Latency against MACs of the small networks"
BASE = "resnet20"
"""What every network is compared with."""
_LATENCY = Metric("latency", "latency", "latency an image", "ms", 2, "lower")


def write_latency_page(reports: Path) -> list[Path]:
    """Write ``latency/report.md`` and a figure a batch size from the records that lie there, if any do."""
    folder = reports / "latency"
    if not (folder / "latency.jsonl").is_file():
        return []
    entries = load_lines(folder / "latency.jsonl", LatencyEntry)
    with publish_set(folder) as staged, house_style():
        for size, timed in group_by_batch(entries).items():
            caption = (
                "32 x 32, 10 classes; MACs counted, time the median of rounds in which the networks take turns; "
                "dashed: Pareto front"
            )
            title = f"{TITLE}, batch {size}"
            figure = draw_points(list_points(timed), _LATENCY, title=title, caption=caption, legend=False, wide=True)
            save_figure(figure, staged, f"latency_batch{size}", dpi=PNG_DPI, dark=True)
        publish_text(staged / "report.md", render_latency_page(entries))
    return [folder / "report.md"]


def group_by_batch(entries: Sequence[LatencyEntry]) -> dict[int, list[Timed]]:
    """What was measured together, by batch size; networks that could not be measured are left out."""
    groups: dict[int, list[Timed]] = {}
    for entry in entries:
        if isinstance(entry.measurement, Measurement):
            timed = Timed(entry.model, entry.model, entry.macs, entry.measurement)
            groups.setdefault(entry.measurement.batch_size, []).append(timed)
    return groups


def list_points(timed: Sequence[Timed]) -> list[Point]:
    """One point a network: milliseconds an image over MACs."""
    return [Point(one.name, one.variant, one.macs, one.measurement.latency_per_image_ms) for one in timed]


def render_latency_page(entries: Sequence[LatencyEntry]) -> str:
    """The whole page as Markdown."""
    lines = [
        f"# {TITLE}",
        "",
        "Made by `python tests/benchmarks/small_latency.py`; the records are in `latency.jsonl`. Every registered",
        "classification network whose own setting is images of 32 x 32, in evaluation.",
    ]
    for size, timed in group_by_batch(entries).items():
        figure = f"![{TITLE}, batch {size}](latency_batch{size}.svg)"
        table = to_markdown(tabulate_latency(timed)).rstrip()
        lines += ["", f"## Batch {size}", "", figure, "", table, "", list_items(list_latency_notes(timed))]
    failed = [f"{one.model}: {one.measurement.reason}" for one in entries if isinstance(one.measurement, NotMeasured)]
    if failed:
        lines += ["", "## Not measured", "", list_items(failed)]
    return "\n".join(lines).rstrip() + "\n"


def tabulate_latency(timed: Sequence[Timed]) -> Table:
    """One row a network: MACs, time, both as shares of the base's, and the MACs a second that it sustains."""
    base = next((one for one in timed if one.name == BASE), None)
    header = (
        "network",
        "MACs (M)",
        "latency (ms/image)",
        f"MACs / {BASE}",
        f"time / {BASE}",
        "95 % interval",
        "GMAC/s",
    )
    rows = []
    for one in timed:
        latency = one.measurement.latency_per_image_ms
        ratio = one.measurement.ratios.get(BASE)
        rows.append(
            (
                one.name,
                format_millions(one.macs),
                f"{latency:.3f}",
                f"{one.macs / base.macs:.2f}" if base else NOTHING,
                f"{ratio[0]:.2f}" if ratio else NOTHING,
                f"{ratio[1]:.2f} to {ratio[2]:.2f}" if ratio else NOTHING,
                f"{one.macs / latency / 1e6:.1f}",
            )
        )
    return make_table(header, rows, numbers=header[1:])


def list_latency_notes(timed: Sequence[Timed]) -> list[str]:
    """Where it was measured, how far time follows MACs, and which pairs the two rank differently."""
    from scipy.stats import spearmanr  # Slow to import, and no other report needs it.

    first = timed[0].measurement
    where = first.environment
    load = "" if first.load_average is None else f", load average {first.load_average:.1f} when it began"
    notes = [
        f"Measured on {where.device_name} ({where.device}), {format_items(first.threads, 'thread')}, {first.dtype}, "
        f"torch {where.packages.get('torch', '?')}{load}."
    ]
    notes += list_unsettled(timed)
    conflicts = find_conflicts(timed)
    rank = spearmanr([one.macs for one in timed], [one.measurement.latency_ms for one in timed]).statistic
    told = [pair for pair in combinations(timed, 2) if pair[0].measurement.compare(pair[1].variant) is not None]
    notes.append(
        f"Rank correlation (Spearman) of MACs and latency over {len(timed)} networks: {rank:.2f}. Of {len(told)} pairs "
        f"whose times are told apart, MACs rank {len(conflicts)} the other way round."
    )
    if conflicts:
        notes.append(f"Fewer MACs and more time: {tell_conflicts(conflicts)}")
    return notes


def _render_block(reports: Path) -> str:
    entries = load_lines(reports / "latency" / "latency.jsonl", LatencyEntry)
    parts = []
    for size, timed in group_by_batch(entries).items():
        parts.append(f"![{TITLE}, batch {size}](reports/latency/latency_batch{size}.svg)")
        parts.append(list_items(list_latency_notes(timed)))
    return "\n\n".join(parts)


PAGES.add("latency", Page(order=5, write=write_latency_page, block=_render_block))
