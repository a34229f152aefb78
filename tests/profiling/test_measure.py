"""Measuring: the protocol is tested with clocks and samples of its own, the machine only once and roughly."""

from __future__ import annotations

import io
import random
from itertools import count
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from vtbench.errors import UserError
from vtbench.profiling.arguments import Arguments
from vtbench.profiling.measure import (
    Measurement,
    MeasureSettings,
    find_quartiles,
    find_ratio,
    has_settled,
    measure_models,
    measure_peak_memory,
    take_turns,
)
from vtbench.profiling.profile import profile_source
from vtbench.profiling.sources import Source, resolve_source
from vtbench.records import NotMeasured
from vtbench.reporting.profile_report import ProfiledModel, print_profiles
from vtbench.reporting.profile_timing import describe_load, find_disagreements, show_measurements

CPU = torch.device("cpu")


def test_models_take_turns_until_all_have_settled() -> None:
    order: list[str] = []

    def make(name: str) -> object:
        def timer() -> float:
            order.append(name)
            return 1.0

        return timer

    samples: list[list[float]] = [[], []]
    assert take_turns([make("a"), make("b")], samples, 1e9) == [True, True]  # type: ignore[list-item]
    assert order == ["a", "b"] * 20
    assert [len(collected) for collected in samples] == [20, 20]


def test_measuring_stops_when_time_is_up_and_says_that_nothing_settled() -> None:
    ticks = count()
    drifting = count(1)
    samples: list[list[float]] = [[]]
    settled = take_turns([lambda: float(2 ** next(drifting))], samples, 5.0, clock=lambda: float(next(ticks)))
    assert settled == [False]
    assert len(samples[0]) == 5


def test_quartiles_settle_when_the_second_half_changes_them_no_more() -> None:
    assert has_settled([1.0, 1.01] * 20)
    assert not has_settled([1.0] * 19)
    assert not has_settled([1.0] * 20 + [1.5] * 20)
    assert not has_settled([1.0] * 20 + [0.5, 1.5] * 10)  # The median rests, the quartiles move away from it.
    assert find_quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == (2.0, 3.0, 4.0)
    assert find_quartiles([7.0]) == (7.0, 7.0, 7.0)


def test_a_measurement_says_all_that_is_needed_to_repeat_it() -> None:
    sources = [resolve_source(f"torchvision:{name}") for name in ("squeezenet1_1", "shufflenet_v2_x0_5")]
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first, second = measure_models(sources, [(2, 3, 64, 64)] * 2, MeasureSettings(threads=1, time_limit=0.2))
    assert isinstance(first, Measurement)
    assert isinstance(second, Measurement)
    assert first.latency_ms_quartiles[0] <= first.latency_ms <= first.latency_ms_quartiles[1]
    assert first.latency_per_image_ms == pytest.approx(first.latency_ms / 2)
    assert first.images_per_second == pytest.approx(2000 / first.latency_ms)
    assert first.num_samples == second.num_samples
    assert first.measured_together == ("torchvision:squeezenet1_1", "torchvision:shufflenet_v2_x0_5")
    assert (first.batch_size, first.dtype, first.threads, first.environment.device) == (2, "float32", 1, "cpu")
    assert isinstance(first.peak_memory_bytes, int)
    assert first.peak_memory_bytes > 4 * 1_235_496  # Its weights alone.
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_model_that_fails_is_not_measured_and_the_others_are() -> None:
    class Failing(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not on this device")

    sources = [Source("bad", Failing, (8, 8)), Source("good", lambda: nn.Conv2d(3, 4, 1), (8, 8))]
    bad, good = measure_models(sources, [(1, 3, 8, 8)] * 2, MeasureSettings(time_limit=0.1))
    assert isinstance(bad, NotMeasured)
    assert "not on this device" in bad.reason
    assert isinstance(good, Measurement)


def test_a_device_or_type_that_is_not_there_is_refused() -> None:
    for settings in (MeasureSettings(device="warp"), MeasureSettings(dtype="float8")):
        with pytest.raises(UserError, match=r"Allowed|Did you mean 'float32'"):
            measure_models([], [], settings)


def test_peak_memory_is_what_lives_at_one_time() -> None:
    """Weights, the input, and of the chain of activations only the two that one layer reads and writes."""
    model = nn.Sequential(nn.Linear(100, 100, bias=False), nn.Sigmoid(), nn.Sigmoid(), nn.Sigmoid()).eval()
    assert measure_peak_memory(model, Arguments((torch.zeros(10, 100),)), CPU) == 4 * (100 * 100 + 3 * 10 * 100)


def test_models_that_macs_and_time_rank_differently_are_named() -> None:
    (timing,) = measure_models(
        [Source("any", lambda: nn.Conv2d(3, 4, 1), (8, 8))], [(1, 3, 8, 8)], MeasureSettings(time_limit=0.1)
    )
    assert isinstance(timing, Measurement)

    def lasting(low: float, ratio: float, high: float) -> Measurement:
        return timing.model_copy(update={"ratios": {"fat": (ratio, low, high)}})

    def find(lean: Measurement | NotMeasured | None) -> list[str]:
        return find_disagreements(["lean", "fat"], [100, 200], [lean, timing])

    assert find(lasting(1.4, 1.5, 1.6)) == ["lean has 2.00x fewer MACs than fat, yet takes 1.50x its time"]
    assert find(lasting(0.4, 0.5, 0.6)) == []
    assert find(lasting(0.9, 1.5, 1.6)) == []
    assert find(timing) == [], "their ratio has not settled"
    assert find(None) == find(NotMeasured(reason="broken")) == []


def test_no_measured_number_of_a_small_or_slow_network_is_rounded_to_nothing() -> None:
    source = Source("any", lambda: nn.Conv2d(3, 4, 1), (8, 8))
    (timing,) = measure_models([source], [(1, 3, 8, 8)], MeasureSettings(time_limit=0.1))
    assert isinstance(timing, Measurement)
    quick = {"latency_ms": 0.0031, "latency_ms_quartiles": (0.003, 0.0042), "cpu_ms": 0.0031}
    slow = {"images_per_second": 0.0123, "peak_memory_bytes": 400_000, "ratios": {"any": (5e-5, 4e-5, 6e-5)}}
    profile = profile_source(source)
    found = [
        ProfiledModel(profile.model_copy(update={"model": name}), measured=timing.model_copy(update=quick | slow | own))
        for name, own in (("any", {}), ("other", {"peak_memory_bytes": 472_166}))
    ]
    table = show_measurements(found)
    assert table.header[-2:] == ("peak KiB", "n")
    assert table.rows[0][2:7] == ("0.0031", "0.0030–0.0042", "0.0031", "0.012", "390.6")
    assert table.rows[1][6] == "461.1"
    printed = io.StringIO()
    print_profiles(found, Console(file=printed, width=200), splits=(), depth=1)
    assert "kept (B)" in printed.getvalue()
    assert "0.000050x the time of any, 95 % interval 0.000040 to 0.000060" in printed.getvalue()


def test_models_are_compared_round_by_round() -> None:
    slowed = [1.0, 5.0, 2.0, 9.0] * 30
    assert find_ratio([1.5 * sample for sample in slowed], slowed) == pytest.approx((1.5, 1.5, 1.5))
    draw = random.Random(0)
    rounds = [[1.1 * draw.lognormvariate(0, 0.1) for _ in range(60)] for _ in range(400)]
    found = [ratio for samples in rounds if (ratio := find_ratio(samples, [1.0] * 60)) is not None]
    assert len(found) >= 0.93 * len(rounds), "noise alone is no reason not to compare"
    kept = [low <= 1.1 <= high for _, low, high in found]
    assert 0.92 <= sum(kept) / len(kept) <= 0.98


def test_models_whose_ratio_still_moves_are_not_compared() -> None:
    ones = [1.0] * 40
    assert find_ratio([1 + n / 40 for n in range(40)], ones) is None
    assert find_ratio([1.0] * 10 + [2.0] * 30, ones) is None
    assert find_ratio([1.5] * 19, ones[:19]) is None, "too few rounds to tell"
    assert find_ratio([1.5] * 20, ones[:20]) == (1.5, 1.5, 1.5)
    falling = [1.0 / (n + 1) for n in range(40)]
    assert find_ratio([1.5 * one for one in falling], falling) == pytest.approx((1.5, 1.5, 1.5)), "both get faster"


def test_a_busy_machine_is_named() -> None:
    (timing,) = measure_models(
        [Source("any", lambda: nn.Conv2d(3, 4, 1), (8, 8))],
        [(1, 3, 8, 8)],
        MeasureSettings(time_limit=0.1, threads=1),
    )
    assert isinstance(timing, Measurement)
    assert timing.cpu_ms is not None
    assert timing.cpu_ms > 0
    cores = timing.environment.num_cores
    assert describe_load(timing.model_copy(update={"load_average": cores - 1.0})) is None
    assert describe_load(timing.model_copy(update={"load_average": None})) is None
    said = describe_load(timing.model_copy(update={"load_average": cores + 3.0}))
    assert said is not None
    assert f"load average {cores + 3}.0 on {cores} core" in said


def test_the_measured_file_of_a_user_is_built_for_real(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from torch import nn\ndef build():\n    return nn.Conv2d(3, 4, 1)\n", encoding="utf-8")
    (found,) = measure_models([resolve_source(f"{file}:build")], [(1, 3, 8, 8)], MeasureSettings(time_limit=0.1))
    assert isinstance(found, Measurement)
