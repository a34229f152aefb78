"""Measured, not counted: latency, throughput and peak memory of models on a device.

Models take turns, one timed sample each a round, so that a machine that slows down slows all of them. Rounds go on
until median and quartiles of every model have settled, or time is up. Models are compared round by round: what slowed
both of them cancels, so that a comparison can have settled on a machine on which no time does.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_iter

from vtbench.environment import describe_environment, resolve_device
from vtbench.errors import UserError, did_you_mean
from vtbench.profiling.arguments import Arguments, make_arguments
from vtbench.profiling.errors import summarize_exception
from vtbench.profiling.shortcuts import DispatchMode
from vtbench.profiling.sources import Source
from vtbench.profiling.subject import kept_randomness
from vtbench.profiling.trace import plain_execution
from vtbench.records import EnvironmentRecord, NotMeasured
from vtbench.records.profile import Measurement

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_LEAST_SAMPLES = 10
_SETTLED = 0.02
_WARM_UP_PASSES = 3
_SHORTEST_SAMPLE_SECONDS = 0.005
_MOST_BLOCKS = 50
"""Of rounds, for a ratio: neighbouring rounds are alike, and each on its own would make the interval too short."""


@dataclass(frozen=True)
class MeasureSettings:
    """Where and how long to measure. ``time_limit`` is in seconds for each model, warm-up excluded."""

    device: str = "auto"
    dtype: str = "float32"
    threads: int | None = None
    time_limit: float = 20.0

    def find_device(self) -> torch.device:
        """Where to measure. Raises ``UserError`` for a device that is not there and a type that there is not."""
        if self.dtype not in _DTYPES:
            raise UserError(f"--precision was given {self.dtype!r}. {did_you_mean(self.dtype, _DTYPES)}")
        return resolve_device(self.device)


@dataclass
class WarmModel:
    """One model in the round robin, and what it is given: a batch of images, as a rule."""

    model: nn.Module
    arguments: Arguments
    device: torch.device
    passes: int = 1
    samples: list[float] = field(default_factory=list)
    cpu_samples: list[float] = field(default_factory=list)

    @property
    def batch_size(self) -> int:
        """Images of one pass."""
        return next((len(tensor) for _, tensor in self.arguments.list_tensors() if tensor.dim()), 1)

    def run(self, passes: int) -> None:
        """Make so many passes, and wait until the device has done them."""
        for _ in range(passes):
            self.arguments.call(self.model)
        _synchronize(self.device)

    def take_sample(self) -> float:
        """Seconds of one pass, the device's queue emptied before and after."""
        _synchronize(self.device)
        start, cpu_start = time.perf_counter(), time.process_time()
        self.run(self.passes)
        self.cpu_samples.append((time.process_time() - cpu_start) / self.passes)
        return (time.perf_counter() - start) / self.passes


def measure_models(
    sources: Sequence[Source], given: Sequence[tuple[Any, ...]], settings: MeasureSettings
) -> list[Measurement | NotMeasured]:
    """Measure all models, interleaved; one that fails on the device is a `NotMeasured` and does not stop the others.

    ``given`` is what each is given: the shape (B, C, H, W) of images, or `InputSpec`s.
    Raises ``UserError`` for a device or type that is not there.
    """
    device = settings.find_device()
    results: list[Measurement | NotMeasured | None] = [None] * len(sources)
    arms: dict[int, WarmModel] = {}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with execution_of(settings):
        for place, (source, planned) in enumerate(zip(sources, given, strict=True)):
            try:
                arms[place] = warm_up(source, planned, device, settings.dtype)
            except UserError:
                raise
            except Exception as error:  # Whatever a model raises on a device that does not suit it.
                results[place] = NotMeasured(reason=summarize_exception(error))
        turns = list(arms.values())
        settled = take_turns([arm.take_sample for arm in turns], [arm.samples for arm in turns], settings.time_limit)
        names = [sources[place].spelling for place in arms]
        environment = describe_environment(device)
        for (place, arm), still in zip(arms.items(), settled, strict=True):
            ratios = {
                name: ratio
                for name, other in zip(names, turns, strict=True)
                if other is not arm and (ratio := find_ratio(arm.samples, other.samples)) is not None
            }
            results[place] = _summarize(arm, settings.dtype, still, tuple(names), environment).model_copy(
                update={"load_average": load, "ratios": ratios}
            )
    return [result for result in results if result is not None]


def take_turns(
    timers: Sequence[Callable[[], float]],
    samples: Sequence[list[float]],
    time_limit: float,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> list[bool]:
    """Let every timer add one sample a round until all have settled or ``time_limit`` seconds a timer are over.

    Returns for each timer whether its quartiles have settled. Every timer gets at least one sample.
    """
    end = clock() + time_limit * len(timers)
    while timers:
        for timer, collected in zip(timers, samples, strict=True):
            collected.append(timer())
        if clock() >= end or all(has_settled(collected) for collected in samples):
            break
    return [has_settled(collected) for collected in samples]


def has_settled(samples: Sequence[float]) -> bool:
    """Whether median and quartiles of all samples are within 2 % of those of the first half."""
    if len(samples) < 2 * _LEAST_SAMPLES:
        return False
    early, late = find_quartiles(samples[: len(samples) // 2]), find_quartiles(samples)
    return all(abs(a - b) <= _SETTLED * b for a, b in zip(early, late, strict=True))


def find_quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(samples) == 1:
        return samples[0], samples[0], samples[0]
    low, middle, high = quantiles(samples, n=4, method="inclusive")
    return low, middle, high


def find_ratio(samples: Sequence[float], others: Sequence[float]) -> tuple[float, float, float] | None:
    """How many times ``others`` the ``samples`` of the same rounds are, and the interval of that.

    It is the median over blocks of rounds; the interval of 95 % lies between order statistics (of a binomial
    distribution, in its normal approximation). None where the ratio has not settled: over the first half of the rounds
    it is neither within 2 % of that over all nor in its interval.
    """
    if len(samples) < 2 * _LEAST_SAMPLES:
        return None
    size = max(1, len(samples) // _MOST_BLOCKS)
    starts = range(0, len(samples) - size + 1, size)
    in_order = [median(samples[at : at + size]) / median(others[at : at + size]) for at in starts]
    early, ratios = median(in_order[: len(in_order) // 2]), sorted(in_order)
    outside = max(0, math.floor((len(ratios) - 1.96 * math.sqrt(len(ratios))) / 2))
    middle, low, high = median(ratios), ratios[outside], ratios[-1 - outside]
    return (middle, low, high) if abs(early - middle) <= _SETTLED * middle or low <= early <= high else None


def measure_peak_memory(model: nn.Module, arguments: Arguments, device: torch.device) -> int | NotMeasured:
    """Bytes at the peak of one pass in evaluation: weights, input and the tensors alive together.

    On CUDA the allocator says. On the CPU tensors are followed from operator to operator, so what a kernel allocates
    and frees inside itself is not seen.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        with torch.no_grad():
            arguments.call(model)
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
    if device.type != "cpu":
        return NotMeasured(reason=f"torch tells no peak of memory on {device.type}")
    meter = _MemoryMeter()
    given = (tensor for _, tensor in arguments.list_tensors() if _has_memory(tensor))
    for tensor in (*model.parameters(), *model.buffers(), *given):
        meter.hold(tensor)
    try:
        with torch.no_grad(), plain_execution(), meter:
            arguments.call(model)
    except Exception as error:  # A model that takes no operator from Python, such as one for a compiler of its own.
        return NotMeasured(reason=summarize_exception(error))
    return meter.peak


def warm_up(source: Source, given: tuple[Any, ...], device: torch.device, dtype: str) -> WarmModel:
    """The model in evaluation on ``device``, after its first passes; raises what the model does."""
    model = source.build().to(device=device, dtype=_DTYPES[dtype]).eval()
    arm = WarmModel(model, make_arguments(given, model, device), device)
    last = [arm.take_sample() for _ in range(_WARM_UP_PASSES)][-1]
    arm.cpu_samples.clear()
    arm.passes = max(1, round(_SHORTEST_SAMPLE_SECONDS / max(last, 1e-9)))
    return arm


def _summarize(
    arm: WarmModel, dtype: str, settled: bool, together: tuple[str, ...], environment: EnvironmentRecord
) -> Measurement:
    low, middle, high = find_quartiles(arm.samples)
    return Measurement(
        latency_ms=1000 * middle,
        latency_ms_quartiles=(1000 * low, 1000 * high),
        latency_per_image_ms=1000 * middle / arm.batch_size,
        images_per_second=arm.batch_size / middle,
        peak_memory_bytes=measure_peak_memory(arm.model, arm.arguments, arm.device),
        batch_size=arm.batch_size,
        dtype=dtype,
        threads=torch.get_num_threads(),
        num_samples=len(arm.samples),
        passes_per_sample=arm.passes,
        warm_up_passes=_WARM_UP_PASSES,
        settled=settled,
        measured_together=together,
        environment=environment,
        cpu_ms=1000 * median(arm.cpu_samples),
    )


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextmanager
def execution_of(settings: MeasureSettings) -> Iterator[None]:
    """Inference with the threads of ``settings``; the state of random generators is kept."""
    with _threads(settings.threads), kept_randomness(), torch.inference_mode():
        yield


@contextmanager
def _threads(wanted: int | None) -> Iterator[None]:
    """Use ``wanted`` CPU threads inside the block."""
    before = torch.get_num_threads()
    try:
        if wanted is not None:
            torch.set_num_threads(wanted)
        yield
    finally:
        torch.set_num_threads(before)


def _has_memory(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout is torch.strided


class _MemoryMeter(DispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages of tensors while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = 0
        self.peak = 0
        self._held: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and hold what it returns."""
        out = func(*args, **(kwargs or {}))
        for tensor in tree_iter(out):
            if _has_memory(tensor):
                self.hold(tensor)
        return out

    def hold(self, tensor: Tensor) -> None:
        """Count the memory of ``tensor`` until it is freed."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._held:
            return
        self._held.add(storage._cdata)
        self.alive += storage.nbytes()
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._release, storage._cdata, storage.nbytes())

    def _release(self, key: int, num_bytes: int) -> None:
        self._held.discard(key)
        self.alive -= num_bytes
