"""Energy comes from a meter, here files as Linux shows RAPL, or it is said why there is none."""

from __future__ import annotations

import sys
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
CORES, MEMORY = "intel-rapl:0:0", "intel-rapl:0:1"
RANGE_UJ = 10_000_000


@dataclass
class Package:
    """RAPL's files of one CPU package, its cores, which are a part of it, and its memory, which is not."""

    folder: Path

    def draw(self, package_joules: float, memory_joules: float) -> None:
        for name, joules in (("", package_joules), (CORES, package_joules / 2), (MEMORY, memory_joules)):
            path = self.folder / name / "energy_uj"
            path.write_text(str((int(path.read_text()) + round(1e6 * joules)) % RANGE_UJ))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    folder = tmp_path / "powercap" / "intel-rapl:0"
    for part, name in (("", "package-0"), (CORES, "core"), (MEMORY, "dram")):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for file, text in (("name", name), ("energy_uj", "5000000"), ("max_energy_range_uj", str(RANGE_UJ))):
            (folder / part / file).write_text(f"{text}\n")
    monkeypatch.setattr(energy, "POWERCAP", folder.parent)
    return Package(folder)


def test_joules_are_those_of_the_package_and_its_memory(package: Package) -> None:
    meter = open_meter(CPU)
    assert isinstance(meter, Meter)
    assert meter.measure(lambda: package.draw(2.5, 0.25)) == pytest.approx(2.75)
    assert meter.measure(lambda: None) == 0.0


def test_a_counter_that_begins_anew_goes_on(package: Package) -> None:
    meter = open_meter(CPU)
    assert isinstance(meter, Meter)
    assert meter.measure(lambda: package.draw(9.0, 1.0)) == pytest.approx(10.0)
    assert (package.folder / "energy_uj").read_text() == "4000000"


def test_an_image_takes_its_share_of_the_passes_and_of_the_batch(
    package: Package,
) -> None:
    class Drawing(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            package.draw(0.001, 0.0)  # The counter is not to begin anew twice in a window of many passes.
            return images.mean((2, 3))

    source = replace(resolve_source("resnet20:width=8", image_size=(8, 8)), build=Drawing)
    meter = open_meter(CPU)
    assert isinstance(meter, Meter)
    settings = MeasureSettings(device="cpu", time_limit=0.2)
    assert measure_energy([source], [(4, 3, 8, 8)], settings, meter) == [pytest.approx(0.001 / 4)]


def test_models_that_fail_and_counters_that_stand_still_are_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stands = iter([1.0, 1.0, 1.0, 3.0] * 3)  # Two models, two looks at each, three rounds.
    meter = Meter("all", lambda: [next(stands)], [None])
    source = resolve_source("resnet20:width=8", image_size=(8, 8))
    sources = [source, replace(source, build=_refuse), source]
    monkeypatch.setattr(energy, "_WINDOW_SECONDS", 1e-9)
    settings = MeasureSettings(device="cpu", time_limit=0.2)
    still, failed, moved = measure_energy(sources, [(2, 3, 8, 8)] * 3, settings, meter)
    assert still == NotMeasured(reason="the meter did not move")
    assert isinstance(failed, NotMeasured) and "needs another device" in failed.reason
    assert isinstance(moved, float) and moved > 0


def test_a_meter_that_fails_in_a_window_costs_one_model_its_energy_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = iter(range(100))

    def read() -> list[float]:
        if (look := next(looks)) == 5:  # Two looks a window: the end of the first model's second one.
            raise OSError("the meter is gone")
        return [float(look)]

    source = resolve_source("resnet20:width=8", image_size=(8, 8))
    monkeypatch.setattr(energy, "_WINDOW_SECONDS", 1e-9)
    settings = MeasureSettings(device="cpu", time_limit=0.2)
    failed, stands = measure_energy([source] * 2, [(2, 3, 8, 8)] * 2, settings, Meter("all", read, [None]))
    assert isinstance(failed, NotMeasured) and "the meter is gone" in failed.reason
    assert stands == pytest.approx(1 / 2)


def _refuse() -> nn.Module:
    raise RuntimeError("it needs another device")


@pytest.mark.parametrize(("device", "said"), [("cpu", "no meter of the cpu"), ("mps", "no meter of the mps")])
def test_a_machine_without_a_meter_says_so(
    device: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(energy, "POWERCAP", tmp_path)
    found = open_meter(torch.device(device))
    assert isinstance(found, NotMeasured) and said in found.reason


def test_a_meter_that_may_not_be_read_is_named(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> float:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(energy, "_read_joules", refuse)
    found = open_meter(CPU)
    assert isinstance(found, NotMeasured)
    assert found.reason.startswith("the meter cannot be read: ") and "Permission denied" in found.reason


def test_a_machine_without_the_library_or_the_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def refuse() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    found = open_meter(torch.device("cuda", 0))
    assert isinstance(found, NotMeasured) and "NVML Shared Library Not Found" in found.reason
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = open_meter(torch.device("cuda", 0))
    assert isinstance(found, NotMeasured) and "pip install 'vtbench[energy]'" in found.reason


@pytest.mark.gpu
def test_the_energy_of_a_gpu_is_read() -> None:
    source: Any = resolve_source("resnet18")
    meter = open_meter(torch.device("cuda", 0))
    assert isinstance(meter, Meter)
    (joules,) = measure_energy([source], [(8, 3, 224, 224)], MeasureSettings(device="cuda"), meter)
    assert isinstance(joules, float) and joules > 0
