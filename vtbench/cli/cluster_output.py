"""What ``vtbench ablate --plan --cluster`` prints: what a study takes on a cluster that is not here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vtbench.documents.table import NOTHING, make_table
from vtbench.documents.terminal import lay_out, open_console, print_text
from vtbench.records import NotMeasured
from vtbench.units import format_bytes, format_count, format_duration, format_items

if TYPE_CHECKING:
    from vtbench.studies.cluster_plan import ClusterArm, ClusterPlan, ClusterSize
    from vtbench.studies.planning import StudyPlan


def print_cluster(plan: StudyPlan, cluster: ClusterPlan) -> None:
    """Hours and memory of each arm, the study on clusters of several sizes, and what all of it rests on."""
    console, gpu, bound = open_console(), cluster.gpu.title, ">= " if cluster.is_bound else ""
    devices = f"{format_items(cluster.knobs.nodes, 'node')} of {cluster.knobs.gpus} {gpu}"
    num_open, num_cells = sum(arm.num_open for arm in plan.arms), sum(arm.num_cells for arm in plan.arms)
    trials = sum(arm.num_open_trials for arm in plan.arms)
    tuning = f", {trials:,} runs of tuning" if trials else ""
    print_text(f"{plan.study.name}: {plan.study.question}", console, style="bold")
    print_text(f"{num_open:,} of {format_items(num_cells, 'cell')} to run{tuning}, on {devices}:\n", console)
    header = ("arm", "to run", "MACs a cell", "GPU-h a cell", "memory a GPU")
    rows = [_show_arm(one, cluster, bound) for one in cluster.arms]
    console.print(lay_out(make_table(header, rows, numbers=header[1:]), look="plain"))
    if isinstance(cluster.sizes, NotMeasured):
        print_text(f"\nHours unknown ({cluster.sizes.reason}).", console)
    else:
        has_price = cluster.knobs.price is not None
        columns = ["GPUs", "a cell", "cells at once", "until all end", "GPU-hours", *(["cost"] if has_price else [])]
        rows = [_show_size(size, bound) for size in cluster.sizes]
        print_text("", console)
        console.print(lay_out(make_table(columns, rows, numbers=columns), look="plain"))
    if cluster.savings:
        taken = "; ".join(
            f"of {effect:g}: {seeds:.1f} seeds, {100 * share:.0f} % of the runs"
            for effect, seeds, share in cluster.savings
        )
        print_text(
            f"\n--until decided, looking from 3 seeds to {cluster.most_seeds}, is expected to take, where true "
            f"differences are so many standard deviations of a paired difference, {taken}.",
            console,
        )
    print_text("\nWhat this rests on:", console)
    for sentence in cluster.assumptions:
        print_text(f"- {sentence}", console)


def list_cluster(cluster: ClusterPlan) -> dict[str, Any]:
    """The same as plain values; what is not known is null."""
    sizes = () if isinstance(cluster.sizes, NotMeasured) else cluster.sizes
    return {
        "gpu": cluster.gpu.name,
        "num_gpus": cluster.num_devices,
        "is_bound": cluster.is_bound,
        "arms": [
            {
                "arm": one.arm.arm,
                "gpu_seconds_a_cell": _or_none(one.device_seconds),
                "memory_bytes": _or_none(one.memory_bytes),
            }
            for one in cluster.arms
        ],
        "sizes": [
            {
                "num_gpus": size.devices,
                "gpus_a_cell": size.devices_a_cell,
                "cells_at_once": size.at_once,
                "wall_seconds": size.wall_seconds,
                "gpu_seconds": size.busy_seconds,
                "cost": size.cost,
            }
            for size in sizes
        ],
        "until_decided": [
            {"effect_sd": effect, "seeds": seeds, "share_of_runs": share} for effect, seeds, share in cluster.savings
        ],
        "assumptions": list(cluster.assumptions),
    }


def _show_arm(one: ClusterArm, cluster: ClusterPlan, bound: str) -> list[str]:
    macs, seconds, memory = one.arm.macs, one.device_seconds, one.memory_bytes
    held = NOTHING if isinstance(memory, NotMeasured) else format_bytes(memory)
    if not isinstance(memory, NotMeasured) and memory > cluster.gpu.memory_gb * 1e9:
        held += " (too much)"
    return [
        one.arm.arm,
        f"{one.arm.num_runs}",
        NOTHING if isinstance(macs, NotMeasured) else format_count(macs),
        NOTHING if isinstance(seconds, NotMeasured) else f"{bound}{_show_hours(seconds)}",
        held,
    ]


def _show_size(size: ClusterSize, bound: str) -> list[str]:
    return [
        f"{size.devices:,}",
        f"{size.devices_a_cell:,}",
        f"{size.at_once:,}",
        f"{bound}{format_duration(size.wall_seconds)}",
        f"{bound}{_show_hours(size.busy_seconds)}",
        *([] if size.cost is None else [f"{bound}{size.cost:,.2f}"]),
    ]


def _show_hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2f}" if hours >= 0.1 else f"{hours:.2g}"


def _or_none(value: float | NotMeasured) -> float | None:
    return None if isinstance(value, NotMeasured) else value
