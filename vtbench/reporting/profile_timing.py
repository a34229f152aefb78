"""What ``vtbench profile`` says of time and memory: its table, and notes on what the times tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import NotMeasured
from vtbench.records.profile import Measurement
from vtbench.units import choose_byte_scale, choose_scale, format_fine, format_items

if TYPE_CHECKING:
    from vtbench.reporting.profile_report import ProfiledModel

_FREE_LOAD = 0.5
"""Of the load average, what is left on a machine where nothing else runs."""


def show_measurements(found: Sequence[ProfiledModel]) -> Table:
    """One row a model: MACs, latency with its quartiles, CPU time, throughput, peak memory, number of samples."""
    scale = choose_scale(findings.profile.macs for findings in found)
    of_bytes = choose_byte_scale(size for findings in found if (size := count_peak(findings)) is not None)
    peaks = f"peak {of_bytes.prefix}"
    header = ("model", scale.entitle("MACs"), "ms/batch", "quartiles", "CPU ms", "images/s", peaks, "n")
    rows = []
    for findings in found:
        measured = findings.measured
        macs = scale.show(findings.profile.macs)
        if measured is None or isinstance(measured, NotMeasured):
            rows.append((findings.profile.model, macs, *(NOTHING,) * 6))
            continue
        low, high = (format_fine(part, digits=2) for part in measured.latency_ms_quartiles)
        peak = count_peak(findings)
        rows.append(
            (
                findings.profile.model,
                macs,
                format_fine(measured.latency_ms, digits=2),
                f"{low}–{high}",
                NOTHING if measured.cpu_ms is None else format_fine(measured.cpu_ms, digits=2),
                format_fine(measured.images_per_second, digits=1),
                NOTHING if peak is None else of_bytes.show_fine(peak),
                str(measured.num_samples),
            )
        )
    return make_table(header, rows, numbers=header[1:], title="measured")


def count_peak(findings: ProfiledModel) -> int | None:
    """Bytes of memory at the peak, where they were measured."""
    size = getattr(findings.measured, "peak_memory_bytes", None)
    return size if isinstance(size, int) else None


def describe_measuring(found: Sequence[ProfiledModel]) -> Iterator[str]:
    """Notes on where and how it was measured, and on pairs of models; none where nothing was."""
    if all(findings.measured is None for findings in found):
        return
    first = next((f.measured for f in found if isinstance(f.measured, Measurement)), None)
    if first is not None:
        where = first.environment
        yield (
            f"measured in evaluation on {where.device_name} ({where.device}), {first.dtype}, batch {first.batch_size}, "
            f"{format_items(first.threads, 'thread')}, torch {where.packages['torch']}; "
            f"{first.warm_up_passes} passes of warm-up, models take turns; median and quartiles over n samples"
        )
        if (busy := describe_load(first)) is not None:
            yield busy
    for findings in found:
        if isinstance(findings.measured, Measurement) and not findings.measured.settled:
            yield f"{findings.profile.model}: time was up before its quartiles settled within 2 %"
    yield from _compare_times(found)
    yield from find_disagreements(
        [f.profile.model for f in found], [f.profile.macs for f in found], [f.measured for f in found]
    )


def describe_load(measured: Measurement) -> str | None:
    """A sentence on a machine that was at work before it was measured, else None."""
    cores = measured.environment.num_cores
    if measured.load_average is None or measured.load_average + measured.threads <= cores + _FREE_LOAD:
        return None
    return (
        f"the machine was busy before this began (load average {measured.load_average:.1f} on "
        f"{format_items(cores, 'core')}): times are longer for it, CPU times and ratios less so"
    )


def find_disagreements(
    names: Sequence[str], macs: Sequence[int], measured: Sequence[Measurement | NotMeasured | None]
) -> list[str]:
    """A sentence for every pair of models that MACs and latency surely rank the other way round."""
    sentences = []
    known = [(n, m, t) for n, m, t in zip(names, macs, measured, strict=True) if isinstance(t, Measurement)]
    for name, cost, timing in known:
        for other_name, other_cost, _ in known:
            ratio = timing.compare(other_name)
            if cost < other_cost and ratio is not None and ratio[0] > 1:
                sentences.append(
                    f"{name} has {other_cost / cost:.2f}x fewer MACs than {other_name}, "
                    f"yet takes {ratio[0]:.2f}x its time"
                )
    return sentences


def _compare_times(found: Sequence[ProfiledModel]) -> Iterator[str]:
    """The time of each model against that of the first, where the rounds tell them apart."""
    timed = [(f.profile.model, f.measured) for f in found if isinstance(f.measured, Measurement)]
    for name, timing in timed[1:]:
        first = timed[0][0]
        if (seen := timing.ratios.get(first)) is None:
            yield f"{name} and {first} are not compared: the ratio of their times had not settled when time was up"
            continue
        ratio, low, high = (format_fine(part, digits=3) for part in seen)
        told = f"{ratio}x, 95 % interval {low} to {high}, round by round"
        if timing.compare(first) is None:
            yield f"the times of {name} and {first} are not told apart ({told})"
        else:
            yield f"{name} takes {told.replace('x,', f'x the time of {first},', 1)}"
