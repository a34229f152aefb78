"""What a study takes on a cluster that is not here: hours of its GPUs, memory of each, time, cost, all stated.

Nothing is assumed of a GPU but its data sheet. Hours follow from what the probe measured if this machine has that GPU;
else from the share of the data sheet's peak that the user says training sustains; else they are bounds, at the peak.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from vtbench.configuration import Recipe
from vtbench.errors import UserError
from vtbench.profiling.profile import ProfileSettings, profile_source
from vtbench.profiling.sources import resolve_source
from vtbench.published.gpus import PublishedGpu, find_gpu
from vtbench.records import NotMeasured
from vtbench.stats.sequential import design_looks, expect_seeds, plan_looks
from vtbench.studies.cells import Cell, list_cells
from vtbench.studies.planning import PlannedArm, StudyPlan
from vtbench.variants import split_options
from vtbench.written import Configuration, validate_configuration

OTHER_SIZES = (8, 64, 512)
"""Numbers of devices that every plan also works out."""
EFFECTS = (1.0, 2.0, 3.0)
"""True differences, in standard deviations of a paired difference, for which saving is worked out."""
_STATES = {"sgd": 1, "rmsprop": 2, "adamw": 2}
"""Numbers that an optimiser keeps for each parameter."""
_EXAMPLE = "nodes=4,gpus=8,gpu=h100"


class ClusterKnobs(Configuration):
    """A cluster as ``--cluster`` spells it."""

    nodes: int = Field(1, ge=1, le=100_000)
    gpus: int = Field(8, ge=1, le=1024, description="of a node")
    gpu: str
    price: float | None = Field(None, ge=0, description="of a GPU for an hour, in any currency")
    sustained: float | None = Field(None, gt=0, le=1, description="the share of the peak that training sustains")
    scaling: float | None = Field(None, gt=0, le=1, description="the speed of two devices over twice that of one")


def parse_cluster(text: str) -> tuple[ClusterKnobs, PublishedGpu]:
    """What ``--cluster`` was given. Raises ``UserError`` for what is no cluster, and for a GPU that is not known."""
    given = split_options(text, text, noun="knob", example=_EXAMPLE)
    if "gpu" not in given:
        raise UserError(f"--cluster was given {text!r}, which names no gpu. Write for example {_EXAMPLE}.")
    knobs = validate_configuration(ClusterKnobs, given, source="--cluster", noun="knob")
    return knobs, find_gpu(knobs.gpu)


@dataclass(frozen=True)
class ClusterArm:
    """One arm: the time of a cell on one device, and the bytes that a device holds in training."""

    arm: PlannedArm
    device_seconds: float | NotMeasured
    memory_bytes: int | NotMeasured


@dataclass(frozen=True)
class ClusterSize:
    """The study on ``devices``: so many of them a cell, so many cells at once, and until the last of them ends."""

    devices: int
    devices_a_cell: int
    at_once: int
    wall_seconds: float
    busy_seconds: float
    cost: float | None


@dataclass(frozen=True)
class ClusterPlan:
    """All of it. With ``is_bound`` hours are at the data sheet's peak, which no training comes to."""

    knobs: ClusterKnobs
    gpu: PublishedGpu
    arms: tuple[ClusterArm, ...]
    sizes: tuple[ClusterSize, ...] | NotMeasured
    savings: tuple[tuple[float, float, float], ...]
    most_seeds: int
    is_bound: bool
    assumptions: tuple[str, ...]

    @property
    def num_devices(self) -> int:
        """Of the cluster."""
        return self.knobs.nodes * self.knobs.gpus


def plan_cluster(
    plan: StudyPlan, knobs: ClusterKnobs, gpu: PublishedGpu, *, is_measured: bool, could_measure: bool = False
) -> ClusterPlan:
    """Work out what ``plan`` takes on the cluster.

    ``is_measured`` says that its times are of that GPU, and ``could_measure`` that they could be: this machine has one.
    """
    share = 1.0 if knobs.sustained is None else knobs.sustained
    rate = share * gpu.peak_macs(plan.study.execution.precision)
    first = {cell.arm: cell for cell in reversed(list_cells(plan.study, plan.folder))}
    arms = []
    for arm in plan.counted:
        macs = arm.macs
        at_rate = macs if isinstance(macs, NotMeasured) else macs / rate
        seconds = arm.seconds if is_measured else at_rate
        arms.append(ClusterArm(arm, seconds, _measure_memory(first[arm.arm], plan)))
    own = knobs.nodes * knobs.gpus
    sizes = _work_out(plan, arms, knobs, [own, *(size for size in OTHER_SIZES if size != own)])
    most_seeds = plan.study.until.looks[-1] if plan.study.until is not None else plan.study.seeds
    savings = _expect_savings(len(plan.arms), most_seeds)
    is_bound = not is_measured and knobs.sustained is None
    assumptions = tuple(_state(plan, knobs, gpu, is_measured=is_measured, could_measure=could_measure))
    return ClusterPlan(knobs, gpu, tuple(arms), sizes, savings, most_seeds, is_bound, assumptions)


def is_here(gpu: PublishedGpu, device: str) -> bool:
    """Whether this machine's ``device`` is such a GPU, so that its probe measures it."""
    if not device.startswith("cuda"):
        return False
    import torch

    return gpu.is_named(torch.cuda.get_device_name(device))


def _measure_memory(cell: Cell, plan: StudyPlan) -> int | NotMeasured:
    """Bytes of weights, gradients, the optimiser's state, averaged weights, and what one pass keeps for the next."""
    recipe, execution, facts = cell.config.recipe, cell.config.execution, plan.facts.of(cell.arm)
    batch = max(1, math.ceil(recipe.batch_size / execution.devices / execution.accumulate))
    try:
        source = resolve_source(cell.config.spelling, image_size=facts.image_size, num_classes=facts.num_classes)
        counted = profile_source(source, ProfileSettings(), batch_size=batch)
    except UserError as error:
        return NotMeasured(reason=str(error))
    if isinstance(counted.activations, NotMeasured):
        return counted.activations
    kept = counted.activations.bytes // (1 if execution.precision == "float32" else 2)
    state = 4 * counted.params * _STATES[recipe.optimizer.name]
    own = math.ceil(state / execution.devices) if execution.shard_optimizer else state
    return kept + 4 * counted.params * _count_copies(recipe) + own


def _count_copies(recipe: Recipe) -> int:
    """Weights, gradients and averaged weights: what every device of a cell keeps whole."""
    return 2 + (recipe.ema_decay is not None)


def _work_out(
    plan: StudyPlan, arms: Sequence[ClusterArm], knobs: ClusterKnobs, sizes: Sequence[int]
) -> tuple[ClusterSize, ...] | NotMeasured:
    runs: list[float] = []
    for one in arms:
        if isinstance(one.device_seconds, NotMeasured):
            if one.arm.num_runs:
                return NotMeasured(reason=f"{one.arm.arm}: {one.device_seconds.reason}")
            continue
        runs += [one.device_seconds] * one.arm.num_open
        runs += [one.arm.trial_part * one.device_seconds] * one.arm.num_open_trials
    num_runs = sum(arm.num_runs for arm in plan.arms)
    if runs and len(runs) < num_runs:  # The arms that were not counted are like those that were.
        runs += [sum(runs) / len(runs)] * (num_runs - len(runs))
    return tuple(_fill(size, sorted(runs, reverse=True), plan, knobs) for size in sizes)


def _fill(devices: int, runs: Sequence[float], plan: StudyPlan, knobs: ClusterKnobs) -> ClusterSize:
    """Share ``devices`` among ``runs``, longest first, each on whichever is free first."""
    own = plan.study.execution.devices
    each = own
    if knobs.scaling is not None:
        while 2 * each * max(1, len(runs)) <= devices and 2 * each <= plan.study.recipe.batch_size:
            each *= 2
    speed = each * (knobs.scaling or 1.0) ** math.log2(each)
    slots = [0.0] * max(1, devices // each)
    for seconds in runs:
        heapq.heappush(slots, heapq.heappop(slots) + seconds / speed)
    wall = max(slots)
    cost = None if knobs.price is None else knobs.price * devices * wall / 3600
    return ClusterSize(devices, each, min(len(slots), len(runs)), wall, sum(runs) * each / speed, cost)


def _expect_savings(num_arms: int, most_seeds: int) -> tuple[tuple[float, float, float], ...]:
    """True effect, seeds that a comparison is then expected to take, share of all runs of the study."""
    if num_arms < 2 or most_seeds < 4:
        return ()
    design = design_looks(plan_looks(most_seeds), num_arms - 1)
    taken = [(effect, expect_seeds(design, effect)) for effect in EFFECTS]
    return tuple((effect, seeds, seeds / most_seeds) for effect, seeds in taken)


def _state(
    plan: StudyPlan, knobs: ClusterKnobs, gpu: PublishedGpu, *, is_measured: bool, could_measure: bool
) -> list[str]:
    execution = plan.study.execution
    peak = 2 * gpu.peak_macs(execution.precision) / 1e12
    is_tf32 = execution.precision == "float32" and gpu.float32_by == "TF32"
    precision = "float32 by TF32, which torch's convolutions take," if is_tf32 else f"{execution.precision},"
    sheet = f"{gpu.title}: {peak:g} dense TFLOP/s in {precision} {gpu.memory_gb:g} GB ({gpu.source})."
    if is_measured:
        rate = "Times are what the probe measured on this machine's GPU, which is one."
    elif knobs.sustained is not None:
        rate = f"Training sustains {knobs.sustained:g} of that peak, as stated; reading images does not hold it up."
    else:
        where = "without --no-probe, since there is such a GPU here" if could_measure else "where there is such a GPU"
        rate = (
            "Hours are bounds from below, at that peak, which no training comes to. State sustained=SHARE, or plan "
            f"{where}, and it is measured."
        )
    scaling = (
        "A cell stays on its devices, for no scaling was stated; devices beyond one a cell are idle."
        if knobs.scaling is None
        else f"Each doubling of a cell's devices gives {2 * knobs.scaling:g} times the speed, as stated."
    )
    memory = (
        "Memory: weights, gradients and the optimiser's state in float32, and what a forward pass keeps for the "
        "backward pass" + ("" if execution.precision == "float32" else ", half of what float32 takes") + "; kernels' "
        "workspace, the loss and what the allocator holds in reserve come on top."
    )
    if execution.shard_optimizer and execution.devices > 1:
        memory += f" Each of a cell's {execution.devices} devices keeps that part of the optimiser's state."
    cost = ["Cost is that of all devices until the last cell ends."] if knobs.price is not None else []
    return [sheet, rate, "Machines start cells at once and none is lost.", scaling, memory, *cost]
