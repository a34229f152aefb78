"""Runs of several real processes, on CPUs by gloo."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny_parts import digest_run, tiny_config

from vtbench.errors import UserError
from vtbench.records import RunRecord, load_record
from vtbench.training import ProgressListener, RunStopped, StopRequest, train_run, trainer
from vtbench.training.optimization import read_optimizer_state
from vtbench.training.team import check_devices, describe_sharing, settle_devices
from vtbench.training.trainer import split_share

HELPER = Path(__file__).parent / "tiny_helper.py"
PLAIN: dict[str, Any] = {"dropout": 0.0, "stochastic_depth": 0.0, "batch_size": 9}
"""Draws inside a network are each process's own; of 20 images the last batch has 2."""


def plain_run(folder: Path, devices: int, **settings: Any) -> RunRecord:
    return train_run(tiny_config(execution={"devices": devices}, **(PLAIN | settings)), folder)


@pytest.fixture(autouse=True)
def tiny_helpers(tiny: pytest.MonkeyPatch, task: str) -> pytest.MonkeyPatch:
    tiny.setattr("vtbench.training.team.HELPER", (sys.executable, str(HELPER), task))
    return tiny


def test_three_processes_train_the_network_of_one(tmp_path: Path) -> None:
    """Float32 sums in another order differ by 1e-7 in each step, which six steps let grow."""
    alone = plain_run(tmp_path / "1", 1, sync_batch_norm=True)
    three = plain_run(tmp_path / "3", 3, sync_batch_norm=True)
    assert three.error is None
    assert three.certificate == alone.certificate
    assert (three.environment.devices, alone.environment.devices) == (3, 1)
    for one, other in zip(alone.epochs, three.epochs, strict=True):
        assert one.train == pytest.approx(other.train, rel=1e-5)
        assert one.val == pytest.approx(other.val, rel=1e-5)
        assert one.averaged_val == pytest.approx(other.averaged_val, rel=1e-5)
    answers = [load_file(tmp_path / folder / "answers.safetensors") for folder in "13"]
    assert np.array_equal(answers[0]["truth"], answers[1]["truth"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", pytest.param("sgd", marks=pytest.mark.not_in_ci)])
def test_an_optimiser_in_parts_takes_the_steps_of_a_whole_one_and_another_number_goes_on_from_it(
    tmp_path: Path, tiny_helpers: pytest.MonkeyPatch, name: str
) -> None:
    """To the bit: a parameter's step needs its own state alone."""
    counts: list[int] = []
    tiny_helpers.setattr(
        trainer, "read_optimizer_state", lambda one: counts.append(len(state := read_optimizer_state(one))) or state
    )
    settings = {"optimizer": {"name": name, "learning_rate": 0.01}, "gradient_clip_norm": 1.0, **PLAIN}
    whole = train_run(tiny_config(execution={"devices": 2}, **settings), tmp_path / "whole")
    num_whole = counts.pop()
    parts = tiny_config(execution={"devices": 2, "shard_optimizer": True}, **settings)
    assert train_run(parts, tmp_path / "parts").error is whole.error is None
    assert 0 < counts.pop() < num_whole
    for file in ("weights.safetensors", "metrics.jsonl", "certificate.json"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    stop = StopRequest()
    with pytest.raises(RunStopped):
        train_run(parts, tmp_path / "stopped", listener=StopsAt(stop), stop=stop)
    (saved,) = (tmp_path / "stopped" / "checkpoint").glob("*.safetensors")
    assert sum(key.startswith("optimizer.") for key in load_file(saved)) == num_whole
    assert train_run(parts, tmp_path / "stopped").error is None
    weights = "weights.safetensors"
    assert (tmp_path / "stopped" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    with pytest.raises(RunStopped):
        train_run(parts, tmp_path / "alone", listener=StopsAt(again := StopRequest()), stop=again)
    alone = train_run(tiny_config(**settings), tmp_path / "alone")
    assert alone.epochs[-1].train["loss"] == pytest.approx(whole.epochs[-1].train["loss"], rel=0.05)


@pytest.mark.parametrize(
    ("num_images", "num_parts", "num_ranks"), [(10, 3, 2), (9, 4, 4), (8, 1, 3), (2, 1, 3), (7, 9, 2)]
)
def test_micro_batches_of_all_processes_are_those_of_one(num_images: int, num_parts: int, num_ranks: int) -> None:
    images = torch.arange(num_images)
    shares = [
        torch.split(images[rank::num_ranks], split_share(num_images, num_parts, rank, num_ranks))
        for rank in range(num_ranks)
    ]
    together = [torch.cat(parts).sort().values.tolist() for parts in zip(*shares, strict=True)]
    assert together == [part.tolist() for part in images.chunk(num_parts)]


@pytest.mark.parametrize(
    ("execution", "message"),
    [
        ({"device": "auto", "devices": 2}, "has no GPU"),
        ({"device": "cuda", "devices": 2}, "0 CUDA devices"),
        ({"device": "cpu", "devices": 10}, "batches of the recipe 'tiny' have 9 images"),
        ({"device": "cpu", "devices": 4, "accumulate": 3}, "3 in a part"),
        ({"device": "cpu:0", "devices": 2}, "'cpu:0' is one"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU says")
def test_devices_that_there_are_not_are_refused_in_one_sentence(execution: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settle_devices(tiny_config(execution=execution, **PLAIN))


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what a machine without a GPU says")
def test_devices_of_other_machines_are_not_looked_for_here_and_batches_are_still_large_enough_for_them() -> None:
    def check(devices: int, device: str, elsewhere: str) -> None:
        config = tiny_config(execution={"devices": devices, "device": device}, **PLAIN)
        check_devices(config.recipe, config.execution, elsewhere=elsewhere)

    check(2, "cuda", "cuda")
    check(2, "auto", "cuda")
    for given, message in (
        ((10, "cuda", "cuda"), "batches of the recipe 'tiny' have 9 images"),
        ((2, "auto", "cpu"), "the cluster has no GPU"),
        ((2, "cuda:1", "cuda:1"), "'cuda:1' is one"),
    ):
        with pytest.raises(UserError, match=message):
            check(*given)


def test_one_device_that_was_to_share_its_optimiser_is_told_that_it_keeps_all() -> None:
    def describe(**execution: Any) -> str:
        config = tiny_config(execution=execution, **PLAIN)
        return describe_sharing(config.recipe, config.execution, torch.nn.Identity()) or ""

    assert describe() == ""
    assert "there is one: it keeps all of it" in describe(shard_optimizer=True)
    assert "shared among 2 devices" in describe(shard_optimizer=True, devices=2)


class StopsAt(ProgressListener):
    """Asks the run to stop at its first sign."""

    def __init__(self, stop: StopRequest) -> None:
        self.on_start = lambda start: stop.request()  # type: ignore[method-assign]


def test_a_run_of_two_that_was_stopped_is_finished_by_one_with_the_same_certificate(tmp_path: Path) -> None:
    config, stop = tiny_config(execution={"devices": 2}), StopRequest()
    with pytest.raises(RunStopped):
        train_run(config, tmp_path, listener=StopsAt(stop), stop=stop)
    certificate = (tmp_path / "certificate.json").read_bytes()
    messages: list[str] = []
    listener = ProgressListener()
    listener.on_message = messages.append  # type: ignore[method-assign]
    record = train_run(tiny_config(), tmp_path, listener=listener)
    assert record.status == "finished"
    assert (tmp_path / "certificate.json").read_bytes() == certificate
    assert any("devices (2 before, 1 now)" in message for message in messages)
    assert record.config.execution.devices == record.environment.devices == 1


SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("segmentation", {"sync_batch_norm": True}),
    ("classification", {"execution": {"accumulate": 2}, "freeze": ("norm.*",)}),
    ("classification", {"execution": {"precision": "float16"}, "sync_batch_norm": True, "gradient_clip_norm": 0.1}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "settings"), SETTINGS)
def test_two_processes_train_the_network_of_one_with(tmp_path: Path, task: str, settings: dict[str, Any]) -> None:
    """In reduced precision activations round at 1 in 2,048, and some to the other side."""
    tolerance = 1e-5 if "float16" not in str(settings) else 0.02
    runs = []
    for devices in (1, 2):
        execution = {**settings.get("execution", {}), "devices": devices}
        config = tiny_config(**{**PLAIN, **settings, "execution": execution})
        runs.append(train_run(config, tmp_path / str(devices)))
    assert runs[1].error is None
    assert runs[0].certificate == runs[1].certificate
    for one, other in zip(runs[0].epochs, runs[1].epochs, strict=True):
        assert one.train["loss"] == pytest.approx(other.train["loss"], rel=tolerance)
        assert one.val["loss"] == pytest.approx(other.val["loss"], rel=tolerance)


@pytest.mark.gpu
@pytest.mark.skipif(
    torch.cuda.device_count() < 2,
    reason=f"nccl joins two GPUs or more, and this machine has {torch.cuda.device_count()} CUDA devices",
)
@pytest.mark.parametrize("shard_optimizer", [False, True])
def test_two_gpus_train_the_network_of_one_by_nccl(tmp_path: Path, shard_optimizer: bool) -> None:
    """Convolutions on GPUs may round as TF32 does, at 1 in 2,048, and some to the other side."""
    runs = []
    for devices in (1, 2):
        execution = {"device": "cuda", "devices": devices, "shard_optimizer": shard_optimizer}
        settings = {**PLAIN, "sync_batch_norm": True, "execution": execution}
        runs.append(train_run(tiny_config(**settings), tmp_path / str(devices)))
    assert [run.error for run in runs] == [None, None]
    assert runs[0].certificate == runs[1].certificate
    assert runs[1].environment.devices == 2
    for one, other in zip(runs[0].epochs, runs[1].epochs, strict=True):
        assert one.train["loss"] == pytest.approx(other.train["loss"], rel=0.02)
        assert one.val["loss"] == pytest.approx(other.val["loss"], rel=0.02)


@pytest.mark.slow
def test_a_run_of_two_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Dropout and stochastic depth are switched on: each process draws its own."""
    config, stop = tiny_config(execution={"devices": 2}), StopRequest()
    with pytest.raises(RunStopped):
        train_run(config, tmp_path / "stopped", listener=StopsAt(stop), stop=stop)
    records = [train_run(config, tmp_path / name) for name in ("stopped", "whole")]
    assert [record.error for record in records] == [None, None]
    assert digest_run(tmp_path / "stopped") == digest_run(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deed", "message"),
    [
        ("die", "In process 2 of 2: The process was killed by SIGKILL"),
        ("fail", "In process 2 of 2: Unexpected ValueError: no such thing. The traceback stands in error.txt."),
    ],
)
def test_what_befalls_another_process_is_what_the_run_says(
    tmp_path: Path, tiny_helpers: pytest.MonkeyPatch, deed: str, message: str
) -> None:
    helper = (sys.executable, str(HELPER), "classification")
    tiny_helpers.setattr("vtbench.training.team.HELPER", (*helper, "1", deed, "4"))
    config = tiny_config(execution={"devices": 2, "checkpoint_seconds": 1e-9})
    failed = train_run(config, tmp_path)
    assert failed.status == "failed"
    assert (failed.error or "").startswith(message)
    assert ("no such thing" in (tmp_path / "error.txt").read_text()) if deed == "fail" else True
    tiny_helpers.setattr("vtbench.training.team.HELPER", helper)
    assert train_run(config, tmp_path).status == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.not_in_ci)])
def test_processes_that_torchrun_starts_again_meet_and_end_in_the_same_bits(tmp_path: Path, rank: int) -> None:
    config = tiny_config(execution={"devices": 2, "checkpoint_seconds": 1e-9})
    assert train_run(config, tmp_path / "whole").status == "finished"
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--max-restarts", "1", "--nproc-per-node", "2"]
    words = [HELPER.with_name("tiny_started.py"), tmp_path / "killed", rank, 4]
    command = [sys.executable, *torchrun, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HELPER.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr
    killed, whole = (digest_run(tmp_path / name) for name in ("killed", "whole"))
    assert {name for name in whole if killed[name] != whole[name]} <= {"record.json"}
    killed_record, record = (load_record(tmp_path / name / "record.json", RunRecord) for name in ("killed", "whole"))
    assert killed_record == record.model_copy(update={"environment": killed_record.environment}), "but for threads"
