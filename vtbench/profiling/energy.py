"""Energy of an image in joules, read from a meter of the machine through Zeus (``zeus``): never an estimate.

The meters are NVML's or ROCm's counter of a GPU, RAPL of the CPU's packages (with their memory where it is told), and
Apple's of its chips. Each covers a whole device: what it draws at rest and what other processes do on it are in it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from vtbench.errors import UserError
from vtbench.profiling.errors import summarize_exception
from vtbench.profiling.measure import MeasureSettings, WarmModel, execution_of, warm_up
from vtbench.profiling.sources import Source
from vtbench.records import NotMeasured

_WINDOW_SECONDS = 1.0
"""A GPU's counter moves every 20 to 100 ms, so that shorter windows would mostly measure when it does."""
_ROUNDS = 3
_WINDOW = "passes"


@dataclass(frozen=True)
class Meter:
    """A meter of the machine. ``covers`` says whose energy it counts; ``monitor`` is Zeus's."""

    covers: str
    monitor: Any
    add_up: Callable[[Any], float]

    def read(self, work: Callable[[], object]) -> float:
        """Joules that the device took while ``work`` ran."""
        self.monitor.begin_window(_WINDOW, restart=True)
        work()
        with warnings.catch_warnings():  # Of a counter that did not move, which is told as not measured.
            warnings.simplefilter("ignore")
            return self.add_up(self.monitor.end_window(_WINDOW))


def open_meter(device: torch.device) -> Meter | NotMeasured:
    """The meter of ``device``; why there is none where the library or the meter is missing or may not be read."""
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError:
        return NotMeasured(reason="no library that reads meters is installed (pip install 'vtbench[energy]')")
    try:
        if device.type == "cuda":
            index = device.index or 0
            return Meter(f"GPU {index}", ZeusMonitor([index], []), lambda found: float(found.gpu_energy[index]))
        monitor = ZeusMonitor([])
        if device.type == "mps" and monitor.soc_is_present:
            return Meter("the chip's processors and memory", monitor, lambda found: _add_chip(found.soc_energy))
        if device.type == "cpu" and monitor.cpu_indices:
            return Meter("the CPU's packages", monitor, _add_packages)
    except Exception as error:  # Drivers and permissions fail in ways of their own; the other numbers stand.
        return NotMeasured(reason=f"the meter cannot be read: {summarize_exception(error)}")
    return NotMeasured(reason=f"this machine has no meter of the {device.type} that can be read; none is estimated")


def measure_energy(
    sources: Sequence[Source], given: Sequence[tuple[Any, ...]], settings: MeasureSettings, meter: Meter
) -> list[float | NotMeasured]:
    """Joules an image of every model, the median of rounds in which they take turns.

    ``given`` is what each is given, as for `measure_models`. Raises ``UserError`` for a device or type that is not
    there.
    """
    device = settings.find_device()
    results: list[float | NotMeasured] = []
    models: list[WarmModel | None] = []
    with execution_of(settings):
        for source, planned in zip(sources, given, strict=True):
            try:
                models.append(warm_up(source, planned, device, settings.dtype))
            except UserError:
                raise
            except Exception as error:  # Whatever a model raises on a device that does not suit it.
                models.append(None)
                results.append(NotMeasured(reason=summarize_exception(error)))
                continue
            results.append(NotMeasured(reason="the meter did not move"))
        windows: list[list[float]] = [[] for _ in models]
        for _ in range(_ROUNDS):
            for model, found in zip(models, windows, strict=True):
                if model is not None:
                    found.append(_measure_window(model, meter, min(_WINDOW_SECONDS, settings.time_limit / _ROUNDS)))
    return [
        median(moved) if (moved := [joules for joules in found if joules > 0]) else result
        for found, result in zip(windows, results, strict=True)
    ]


def _measure_window(model: WarmModel, meter: Meter, seconds: float) -> float:
    """Joules an image over as many passes as take about ``seconds``; negative where a counter began anew."""
    passes = max(1, math.ceil(seconds / max(model.take_sample(), 1e-9)))
    return meter.read(lambda: model.run(passes)) / (passes * model.batch_size)


def _add_packages(found: Any) -> float:
    return float(sum(found.cpu_energy.values()) + sum((found.dram_energy or {}).values()))


def _add_chip(found: Any) -> float:
    return sum(value or 0 for value in (found.cpu_total_mj, found.gpu_mj, found.gpu_sram_mj, found.dram_mj)) / 1000
