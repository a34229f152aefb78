"""Energy of an image in joules, read from a meter of the machine: never an estimate.

The meters are NVML's counter of an NVIDIA GPU (by ``nvidia-ml-py``) and RAPL of the CPU's packages, which Linux shows
as files (Intel and AMD; root alone may read them, as a rule). Each covers a whole device: what it draws at rest and
what other processes do on it are in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
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
POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Meter:
    """Counters of the machine that count up. ``covers`` says whose energy they count.

    ``read`` gives each counter in joules, and ``ranges`` where each begins anew, None where it does not.
    """

    covers: str
    read: Callable[[], list[float]]
    ranges: Sequence[float | None]

    def measure(self, work: Callable[[], object]) -> float:
        """Joules that the device took while ``work`` ran, which is shorter than a counter takes to begin anew twice."""
        before = self.read()
        work()
        return sum(
            now - then if now >= then or span is None else now - then + span
            for then, now, span in zip(before, self.read(), self.ranges, strict=True)
        )


def open_meter(device: torch.device) -> Meter | NotMeasured:
    """The meter of ``device``; why there is none where the meter or what reads it is missing, or may not be read."""
    try:
        if device.type == "cuda":
            return _open_gpu(device)
        if device.type == "cpu" and (zones := _list_zones()):
            paths = [zone / "energy_uj" for zone in zones]
            spans = [_read_joules(zone / "max_energy_range_uj") for zone in zones]
            meter = Meter("the CPU's packages and their memory", lambda: [_read_joules(path) for path in paths], spans)
            meter.read()
            return meter
    except ImportError:
        return NotMeasured(reason="no library that reads the GPU's meter is installed (pip install 'vtbench[energy]')")
    except Exception as error:  # Drivers and permissions fail in ways of their own; the other numbers stand.
        return NotMeasured(reason=f"the meter cannot be read: {summarize_exception(error)}")
    return NotMeasured(reason=f"this machine has no meter of the {device.type} that can be read; none is estimated")


def _open_gpu(device: torch.device) -> Meter:
    import pynvml

    pynvml.nvmlInit()
    uuid = torch.cuda.get_device_properties(device).uuid  # NVML numbers GPUs otherwise than torch does.
    handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    meter = Meter(
        f"GPU {device.index or 0}", lambda: [pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3], [None]
    )
    meter.read()
    return meter


def _list_zones() -> list[Path]:
    """The packages, and what of the memory is beside them: other zones are parts of a package."""
    packages = [zone for zone in POWERCAP.glob("intel-rapl:*") if zone.name.count(":") == 1]
    memory = [
        part for zone in packages for part in zone.glob("intel-rapl:*") if (part / "name").read_text().strip() == "dram"
    ]
    return [zone for zone in packages if (zone / "name").read_text().startswith("package")] + memory


def _read_joules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def measure_energy(
    sources: Sequence[Source], given: Sequence[tuple[Any, ...]], settings: MeasureSettings, meter: Meter
) -> list[float | NotMeasured]:
    """Joules an image of every model, the median of rounds in which they take turns.

    ``given`` is what each is given, as for `measure_models`. A model at which its device or the meter fails is not
    measured. Raises ``UserError`` for a device or type that is not there.
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
            for place, model in enumerate(models):
                if model is None:
                    continue
                try:
                    seconds = min(_WINDOW_SECONDS, settings.time_limit / _ROUNDS)
                    windows[place].append(_measure_window(model, meter, seconds))
                except Exception as error:  # Of the meter or of the device; what was measured before must stand.
                    models[place], windows[place] = None, []
                    results[place] = NotMeasured(reason=summarize_exception(error))
    return [
        median(moved) if (moved := [joules for joules in found if joules > 0]) else result
        for found, result in zip(windows, results, strict=True)
    ]


def _measure_window(model: WarmModel, meter: Meter, seconds: float) -> float:
    """Joules an image over as many passes as take about ``seconds``; 0 where no counter moved."""
    passes = max(1, math.ceil(seconds / max(model.take_sample(), 1e-9)))
    return meter.measure(lambda: model.run(passes)) / (passes * model.batch_size)
