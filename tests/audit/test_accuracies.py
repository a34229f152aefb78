"""Accuracy claims: only the same data count, and never one seed alone."""

from __future__ import annotations

import pytest

from vtbench.audit.accuracies import audit_other_training, audit_top1
from vtbench.configuration import DataConfig, Recipe, RunConfig
from vtbench.published.claims import Claim, load_claims
from vtbench.records import EnvironmentRecord, NotMeasured, RunRecord

CLAIM = next(claim for claim in load_claims() if claim.id == "t2-vt_resnet18-top1")


def make_run(top1: float, seed: int = 0, *, num_train: int = 1_281_167, recipe: str = "default") -> RunRecord:
    environment = EnvironmentRecord(
        vtbench="0", commit=None, dirty=None, python="3", platform="p", cpu="c", num_cores=1, threads=1, device="cpu",
        device_name="c", packages={},
    )  # fmt: skip
    return RunRecord(
        variant="vt_resnet18", seed=seed, status="finished",
        config=RunConfig(variant="vt_resnet18", data=DataConfig(spec="folder:IMAGENET"), recipe=Recipe(name=recipe)),
        environment=environment, costs=NotMeasured(reason="-"), certificate=None, num_train=num_train, num_val=50_000,
        num_classes=1000, epochs=(), outcome={"top1_percent": top1}, task="classification", weights_sha256=None,
    )  # fmt: skip


def audit(claim: Claim, *runs: RunRecord) -> tuple[str, str]:
    finding = audit_top1(claim, runs, {})
    return finding.status, finding.reason


def test_without_runs_the_claim_is_not_tested_and_the_command_says_how() -> None:
    finding = audit_top1(CLAIM, [], {})
    assert finding.status == "not tested"
    assert finding.command == "vtbench train vt_resnet18 --data folder:IMAGENET --recipe default"


@pytest.mark.parametrize("values", [(71.8, 72.1), (71.9, 72.0, 72.2)])
def test_imagenet_runs_around_the_printed_number_reproduce_it(values: tuple[float, ...]) -> None:
    status, reason = audit(CLAIM, *(make_run(value, seed) for seed, value in enumerate(values)))
    assert status == "reproduced"
    assert f"n = {len(values)}" in reason


def test_imagenet_runs_away_from_the_printed_number_contradict_it() -> None:
    assert audit(CLAIM, make_run(70.0, 0), make_run(70.1, 1), make_run(70.05, 2))[0] == "contradicted"


def test_one_seed_is_never_enough() -> None:
    status, reason = audit(CLAIM, make_run(72.0))
    assert status == "not tested"
    assert "n = 1: no interval" in reason


def test_accuracy_on_other_data_never_counts_however_well_it_fits() -> None:
    status, reason = audit(CLAIM, *(make_run(72.0 + seed / 10, seed, num_train=50_000) for seed in range(3)))
    assert status == "not tested"
    assert "never count" in reason


def test_accuracy_by_another_recipe_does_not_count() -> None:
    runs = [make_run(72.0 + seed / 10, seed, recipe="advanced") for seed in range(3)]
    assert audit(CLAIM, *runs)[0] == "not tested"


def test_a_subset_of_imagenet_does_not_count() -> None:
    runs = [make_run(72.0 + seed / 10, seed) for seed in range(3)]
    limited = [
        run.model_copy(update={"config": run.config.model_copy(update={"data": DataConfig(limit_train=100)})})
        for run in runs
    ]
    assert audit(CLAIM, *limited)[0] == "not tested"


def test_claims_that_no_record_can_speak_to_say_what_they_take() -> None:
    others = [claim for claim in load_claims() if claim.method in ("train_top1", "top1_gain", "miou", "effect_order")]
    findings = [audit_other_training(claim) for claim in others]
    assert {finding.status for finding in findings} == {"not tested"}
    assert all(finding.reason for finding in findings)
    order = next(finding for finding in findings if finding.id == "headline-order")
    assert order.command is not None and order.command.startswith("vtbench ablate components")
