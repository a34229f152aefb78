"""Energy comes from a meter that Zeus reads, here one of files as Linux's RAPL has them, or it is said why not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vtbench.models  # noqa: F401  # Makes its families known.
from vtbench.profiling import energy
from vtbench.profiling.energy import Meter, measure_energy, open_meter
from vtbench.profiling.measure import MeasureSettings
from vtbench.profiling.sources import resolve_source
from vtbench.records import NotMeasured

CPU = torch.device("cpu")


@dataclass
class Package:
    """RAPL's files of one CPU package; its memory has a counter of its own."""

    folder: Path

    def draw(self, package_joules: float, memory_joules: float) -> None:
        for counter, joules in ((self.folder, package_joules), (self.folder / "intel-rapl:0:0", memory_joules)):
            path = counter / "energy_uj"
            path.write_text(str(int(path.read_text()) + round(1e6 * joules)))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    from zeus.device import cpu
    from zeus.device.cpu import rapl

    folder = tmp_path / "intel-rapl" / "intel-rapl:0"
    for counter, name in ((folder, "package-0"), (folder / "intel-rapl:0:0", "dram")):
        counter.mkdir(parents=True, exist_ok=True)
        for file, text in (("name", name), ("energy_uj", "5000000"), ("max_energy_range_uj", "262143328850")):
            (counter / file).write_text(text)
    monkeypatch.setattr(rapl, "RAPL_DIR", str(folder.parent))
    monkeypatch.setattr(cpu, "_cpus", None)
    rapl.rapl_is_available.cache_clear()
    yield Package(folder)
    rapl.rapl_is_available.cache_clear()


def test_joules_are_those_of_the_package_and_its_memory(package: Package) -> None:
    meter = open_meter(CPU)
    assert isinstance(meter, Meter)
    assert meter.read(lambda: package.draw(2.5, 0.25)) == pytest.approx(2.75)
    assert meter.read(lambda: None) == 0.0


def test_an_image_takes_its_share_of_the_passes_and_of_the_batch(
    package: Package,
) -> None:
    class Drawing(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            package.draw(0.5, 0.0)
            return images.mean((2, 3))

    source = replace(resolve_source("resnet20:width=8", image_size=(8, 8)), build=Drawing)
    meter = open_meter(CPU)
    assert isinstance(meter, Meter)
    settings = MeasureSettings(device="cpu", time_limit=0.2)
    assert measure_energy([source], [(4, 3, 8, 8)], settings, meter) == [pytest.approx(0.5 / 4)]


def test_models_that_fail_and_counters_that_stand_still_or_begin_anew_are_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Counter:
        """Stands still for the first model, and begins anew in one window of the second."""

        def __init__(self) -> None:
            self.windows = iter([0.0, -7.0, 0.0, 6.0, 0.0, 10.0])

        def begin_window(self, key: str, restart: bool) -> None: ...

        def end_window(self, key: str) -> float:
            return next(self.windows)

    source = resolve_source("resnet20:width=8", image_size=(8, 8))
    sources = [source, replace(source, build=_refuse), source]
    monkeypatch.setattr(energy, "_WINDOW_SECONDS", 1e-9)
    settings = MeasureSettings(device="cpu")
    still, failed, moved = measure_energy(sources, [(2, 3, 8, 8)] * 3, settings, Meter("all", Counter(), float))
    assert still == NotMeasured(reason="the meter did not move")
    assert isinstance(failed, NotMeasured) and "needs another device" in failed.reason
    assert isinstance(moved, float) and moved > 0


def _refuse() -> nn.Module:
    raise RuntimeError("it needs another device")


@pytest.mark.parametrize(("device", "said"), [("cpu", "no meter of the cpu"), ("mps", "no meter of the mps")])
def test_a_machine_without_a_meter_says_so(device: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from zeus.device import cpu
    from zeus.device.cpu import rapl

    monkeypatch.setattr(cpu, "_cpus", None)
    monkeypatch.setattr(rapl, "RAPL_DIR", "/nowhere")
    rapl.rapl_is_available.cache_clear()
    found = open_meter(torch.device(device))
    rapl.rapl_is_available.cache_clear()
    assert isinstance(found, NotMeasured) and said in found.reason


def test_a_machine_without_the_library_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus.monitor", None)
    found = open_meter(CPU)
    assert isinstance(found, NotMeasured) and "pip install 'vtbench[energy]'" in found.reason


@pytest.mark.gpu
def test_the_energy_of_a_gpu_is_read() -> None:
    source: Any = resolve_source("resnet18")
    meter = open_meter(torch.device("cuda", 0))
    assert isinstance(meter, Meter)
    (joules,) = measure_energy([source], [(8, 3, 224, 224)], MeasureSettings(device="cuda"), meter)
    assert isinstance(joules, float) and joules > 0
