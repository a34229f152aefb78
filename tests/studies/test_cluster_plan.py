"""The plan of a study on a cluster, held against sums by hand."""

from pathlib import Path
from typing import Any

import pytest
from stand_in_cells import COSTS, FACTS, make_study
from typer.testing import CliRunner

import vtbench.models  # noqa: F401  (fills the registry)
from vtbench.cli.main import app
from vtbench.errors import UserError
from vtbench.published.gpus import GPUS, PublishedGpu, find_gpu
from vtbench.records import NotMeasured
from vtbench.records.record import load_table
from vtbench.stats.sequential import design_looks, expect_seeds
from vtbench.studies.cluster_plan import ClusterPlan, parse_cluster, plan_cluster
from vtbench.studies.placement import Placement
from vtbench.studies.planning import PlannedArm, StudyPlan

MACS = 3600 * 10**12
ABSENT = NotMeasured(reason="not here")


def plan(cluster: str, *, seeds: int = 6, macs: Any = MACS, measured: bool = False, **changes: Any) -> ClusterPlan:
    study = make_study({"a": "resnet20:width=2", "b": "resnet20:width=4"}, seeds=seeds, **changes)
    arms = tuple(PlannedArm(arm, variant, seeds, seeds, COSTS, macs, ABSENT) for arm, variant in study.arms.items())
    placement = Placement(jobs=1, threads=1, reason="none")
    return plan_cluster(
        StudyPlan(study, Path("x"), FACTS, placement, arms), *parse_cluster(cluster), is_measured=measured
    )


def test_hours_are_macs_over_the_share_of_the_peak_that_is_stated_and_cells_fill_the_devices() -> None:
    found = plan("nodes=2,gpus=2,gpu=a100,price=2,sustained=0.5")
    seconds = MACS / (0.5 * 156e12 / 2)
    assert [one.device_seconds for one in found.arms] == pytest.approx([seconds] * 2)
    assert not found.is_bound and not isinstance(found.sizes, NotMeasured)
    own, *others = found.sizes
    assert [size.devices for size in found.sizes] == [4, 8, 64, 512]
    assert (own.devices_a_cell, own.at_once) == (1, 4)
    assert own.wall_seconds == pytest.approx(3 * seconds)  # 12 cells on 4 devices.
    assert own.busy_seconds == pytest.approx(12 * seconds)
    assert own.cost == pytest.approx(2 * 4 * 3 * seconds / 3600)
    assert others[1].wall_seconds == pytest.approx(seconds)
    assert others[1].at_once == 12


def test_stated_scaling_gives_idle_devices_to_cells_at_its_price() -> None:
    found = plan("gpus=48,gpu=h100,scaling=0.9")
    assert found.is_bound and not isinstance(found.sizes, NotMeasured)
    seconds = MACS / (494.5e12 / 2)
    assert found.sizes[0].devices_a_cell == 4
    assert found.sizes[0].wall_seconds == pytest.approx(seconds / (4 * 0.9**2))
    assert found.sizes[0].busy_seconds == pytest.approx(12 * seconds / 0.9**2)


def test_memory_is_that_of_numbers_kept_for_a_batch_on_each_device_and_of_the_optimiser() -> None:
    whole, halved = (
        plan("gpu=h100", execution={"device": "cpu", "precision": precision}) for precision in ("float32", "bfloat16")
    )
    one, half = whole.arms[0].memory_bytes, halved.arms[0].memory_bytes
    assert isinstance(one, int) and isinstance(half, int)
    from vtbench.profiling.profile import ProfileSettings, profile_source
    from vtbench.profiling.sources import resolve_source

    source = resolve_source("resnet20:width=2", image_size=(32, 32), num_classes=10)
    counted = profile_source(source, ProfileSettings(), batch_size=256)
    assert not isinstance(counted.activations, NotMeasured)
    assert one == counted.activations.bytes + 3 * 4 * counted.params
    assert half == counted.activations.bytes // 2 + 3 * 4 * counted.params


def test_a_device_holds_its_part_of_a_shared_optimiser_and_the_assumptions_say_so() -> None:
    execution = {"device": "cpu", "devices": 4}
    whole, shared = (plan("gpu=h100", execution=execution | {"shard_optimizer": one}) for one in (False, True))
    held, part = whole.arms[0].memory_bytes, shared.arms[0].memory_bytes
    assert isinstance(held, int) and isinstance(part, int)
    from vtbench.profiling.sources import resolve_source

    source = resolve_source("resnet20:width=2", image_size=(32, 32), num_classes=10)
    state = 4 * sum(one.numel() for one in source.build().parameters())
    assert held - part == state - state // 4
    said = "Each of a cell's 4 devices keeps that part of the optimiser's state."
    assert [any(said in one for one in found.assumptions) for found in (whole, shared)] == [False, True]


def test_what_is_not_known_of_an_arm_is_said_of_the_whole() -> None:
    found = plan("gpu=h100", macs=ABSENT)
    assert isinstance(found.sizes, NotMeasured)
    assert "a: not here" in found.sizes.reason
    assert isinstance(plan("gpu=h100", measured=True).sizes, NotMeasured)


def test_stopping_early_saves_more_the_larger_the_difference_is() -> None:
    found = plan("gpu=h100", seeds=20)
    shares = [share for _, _, share in found.savings]
    assert shares == sorted(shares, reverse=True)
    assert 0.15 <= shares[-1] < 0.5
    assert plan("gpu=h100", seeds=2).savings == ()
    assert expect_seeds(design_looks((3, 6)), 0.0) > 5.9


@pytest.mark.parametrize(
    ("gpu", "precision", "said"),
    [
        ("h100", "float32", "494.5 dense TFLOP/s in float32 by TF32, which torch's convolutions take, 80 GB"),
        ("v100", "float32", "15.7 dense TFLOP/s in float32, 32 GB"),
        ("h100", "bfloat16", "989.5 dense TFLOP/s in bfloat16, 80 GB"),
    ],
)
def test_a_peak_says_by_which_arithmetic_it_is_reached(gpu: str, precision: str, said: str) -> None:
    found = plan(f"gpu={gpu}", execution={"device": "cpu", "precision": precision})
    assert any(said in assumption for assumption in found.assumptions)


def test_every_gpu_has_its_data_sheet_and_an_unknown_one_is_never_assumed() -> None:
    for gpu in load_table(GPUS, PublishedGpu):
        assert gpu.half_tflops > gpu.float32_tflops > 1
        assert gpu.source.startswith("NVIDIA")
    assert find_gpu("H100").is_named("NVIDIA H100 80GB HBM3")
    assert not find_gpu("a100").is_named("NVIDIA H100 80GB HBM3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu=b300", r"no GPU named 'b300'.* Known: t4, v100, a10, a100"),
        ("nodes=2", "names no gpu"),
        ("gpu=h100,node=2", "Did you mean 'nodes'"),
        ("gpu=h100,sustained=1.5", "'sustained' was given '1.5'"),
        ("h100", "Write for example nodes=4,gpus=8,gpu=h100"),
    ],
)
def test_what_is_no_cluster_is_one_message(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_cluster(text)


def test_the_verb_prints_hours_sizes_and_what_they_rest_on_without_measuring_here(tmp_path: Path) -> None:
    study = tmp_path / "mine.toml"
    study.write_text('question = "q"\nrecipe = "small"\n[arms]\na = "resnet20:width=2"\nb = "resnet20:width=4"\n')
    given = ["ablate", str(study), "--device", "cpu", "--seeds", "4", "--data", "scenes:num_train=50,num_val=20"]
    outcome = CliRunner().invoke(
        app, [*given, "--out", str(tmp_path / "out"), "--plan", "--cluster", "gpu=h100,price=2"]
    )
    assert outcome.exit_code == 0, outcome.output
    text = " ".join(outcome.output.split())
    for part in ("8 of 8 cells to run, on 1 node of 8 H100", "bounds from below", "--until decided", "GPU-hours cost"):
        assert part in text
    assert not (tmp_path / "out").exists()
    refused = CliRunner().invoke(app, [*given, "--cluster", "gpu=h100"])
    assert refused.exit_code != 0
    assert "Give --plan, too" in str(refused.exception) + refused.output


@pytest.mark.parametrize(
    ("has_gpu", "told"),
    [
        (True, "or plan without --no-probe, since there is such a GPU here"),
        (False, "or plan where there is such a GPU"),
    ],
)
def test_who_leaves_the_probe_out_where_the_gpu_is_is_told_so(
    has_gpu: bool, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtbench.studies.cluster_plan.is_here", lambda gpu, device: has_gpu)
    given = ["ablate", "components", "--device", "cpu", "--data", "scenes:num_train=50,num_val=20", "--arm", "static"]
    planned = ["--plan", "--no-probe", "--cluster", "gpu=h100", "--out", str(tmp_path / "out")]
    outcome = CliRunner().invoke(app, [*given, *planned])
    assert outcome.exit_code == 0, outcome.output
    assert told in " ".join(outcome.output.split())
