"""A run that is killed anywhere ends as if it had not been."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tiny_parts import digest_run, save_checkpoint, tiny_config, tiny_world

from vtbench.errors import UserError
from vtbench.records import EnvironmentRecord, load_lines
from vtbench.tasks import TASKS
from vtbench.training import RunStopped, StopRequest, train_run
from vtbench.training.checkpoint import find_checkpoint
from vtbench.training.progress import ProgressListener


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code may catch it in order to save."""


class KillAtLook(StopRequest):
    """Dies at the n-th look of the loop at its stop request, which is once after every batch."""

    def __init__(self, look: int) -> None:
        super().__init__()
        self.looks_left = look

    @property
    def requested(self) -> bool:
        if self.looks_left == 0:
            raise Killed
        self.looks_left -= 1
        return False


class StopAtLook(KillAtLook):
    """Asks to stop at the n-th look."""

    @property
    def requested(self) -> bool:
        self.looks_left -= 1
        return self.looks_left < 0


class FailingFiles:
    """Lets an operation on files fail with ``error``, after so many that succeed, and all that follow."""

    def __init__(self, error: BaseException, *, after: int) -> None:
        self.error, self.operations_left, self.failed = error, after, False
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> FailingFiles:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (shutil, "rmtree")):
            self._patch.setattr(owner, name, self._wrap(getattr(owner, name)))
        return self

    def __exit__(self, *problem: object) -> None:
        self._patch.undo()

    def _wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            if self.operations_left == 0:
                self.failed = True
                raise self.error
            self.operations_left -= 1
            return operation(*arguments, **options)

        return guarded


class Messages(ProgressListener):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_message(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture(scope="module", params=list(TASKS))
def task(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def reference(task: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of the run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    with tiny_world(task):
        assert train_run(tiny_config(), folder).status == "finished"
    return digest_run(folder)


LOOKS = 2 * (3 + 2 * 2)  # Epochs x (batches + batches of validation for the weights and for their average).


@pytest.mark.parametrize("look", range(LOOKS))
@pytest.mark.parametrize("seconds", [60, 1e-9], ids=["saved each epoch", "saved each batch"])
def test_a_run_killed_after_any_batch_ends_in_the_same_bits(
    tiny: pytest.MonkeyPatch, tmp_path: Path, reference: dict[str, str], look: int, seconds: float
) -> None:
    with pytest.raises(Killed):
        train_run(tiny_config(execution={"checkpoint_seconds": seconds}), tmp_path, stop=KillAtLook(look))
    assert not (tmp_path / "record.json").exists()
    train_run(tiny_config(), tmp_path)
    assert digest_run(tmp_path) == reference


@pytest.mark.slow
def test_a_run_killed_at_any_operation_on_files_ends_in_the_same_bits(
    tiny: pytest.MonkeyPatch, tmp_path: Path, reference: dict[str, str]
) -> None:
    num_operations = 0
    while True:
        folder = tmp_path / str(num_operations)
        with FailingFiles(Killed(), after=num_operations) as files, suppress(Killed):
            train_run(tiny_config(), folder)
        if not files.failed:
            break
        train_run(tiny_config(), folder)
        assert digest_run(folder) == reference, f"killed at operation {num_operations}"
        num_operations += 1
    assert num_operations > 40  # Every flush, rename and removal of the run was hit once.


def test_a_run_asked_to_stop_saves_says_where_it_is_and_goes_on_to_the_same_bits(
    tiny: pytest.MonkeyPatch, tmp_path: Path, reference: dict[str, str]
) -> None:
    for look in (1, 4, 0):
        with pytest.raises(RunStopped, match="goes on from there"):
            train_run(tiny_config(), tmp_path, stop=StopAtLook(look))
        assert list((tmp_path / "checkpoint").glob("*.safetensors"))
    train_run(tiny_config(), tmp_path)
    assert digest_run(tmp_path) == reference


def test_a_stop_loses_no_batch(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RunStopped) as first:
        train_run(tiny_config(), tmp_path, stop=StopAtLook(1))
    assert (first.value.epoch, first.value.batch) == (0, 2)
    with pytest.raises(RunStopped) as second:
        train_run(tiny_config(), tmp_path, stop=StopAtLook(0))
    assert (second.value.epoch, second.value.batch) == (0, 3)


@pytest.mark.parametrize("epochs_done", [0, 1])
def test_a_torn_checkpoint_is_reported_and_the_one_before_is_used(
    tiny: pytest.MonkeyPatch, tmp_path: Path, reference: dict[str, str], epochs_done: int
) -> None:
    with pytest.raises(Killed):
        train_run(tiny_config(execution={"checkpoint_seconds": 1e-9}), tmp_path, stop=KillAtLook(3 + 7 * epochs_done))
    newest = max((tmp_path / "checkpoint").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-100])
    listener = Messages()
    train_run(tiny_config(), tmp_path, listener=listener)
    assert digest_run(tmp_path) == reference
    assert len(listener.texts) == 1
    assert newest.name in listener.texts[0]
    assert "the one before it is used" in listener.texts[0]


def test_when_every_checkpoint_is_torn_the_run_begins_anew_to_the_same_bits(
    tiny: pytest.MonkeyPatch, tmp_path: Path, reference: dict[str, str]
) -> None:
    with pytest.raises(Killed):
        train_run(tiny_config(execution={"checkpoint_seconds": 1e-9}), tmp_path, stop=KillAtLook(5))
    for path in (tmp_path / "checkpoint").glob("*.safetensors"):
        path.write_bytes(b"torn")
    train_run(tiny_config(), tmp_path)
    assert digest_run(tmp_path) == reference


@pytest.mark.parametrize(
    "settings",
    [
        {"execution": {"precision": "bfloat16"}},
        {"execution": {"accumulate": 2}},
        {"execution": {"channels_last": False}},
        {"execution": {"precision": "float16"}},
        {"optimizer": {"name": "rmsprop", "learning_rate": 0.01}, "ema_decay": None},
        {"optimizer": {"name": "adamw", "learning_rate": 0.01, "decay_norm_and_bias": False}},
    ],
    ids=lambda settings: " ".join(str(value) for part in settings.values() for value in (part or {"": ""}).values()),
)
def test_whatever_the_options_a_resumed_run_ends_in_the_same_bits(
    tiny: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = tiny_config(**settings)
    train_run(config, tmp_path / "straight")
    for look in (4, 0, 1):
        with pytest.raises(RunStopped):
            train_run(config, tmp_path / "resumed", stop=StopAtLook(look))
    train_run(config, tmp_path / "resumed")
    assert digest_run(tmp_path / "resumed") == digest_run(tmp_path / "straight")


@pytest.mark.slow
def test_workers_change_no_bit_of_weights_and_metrics(
    tiny: pytest.MonkeyPatch, tmp_path: Path, reference: dict[str, str]
) -> None:
    with pytest.raises(RunStopped):
        train_run(tiny_config(execution={"workers": 3}), tmp_path, stop=StopAtLook(1))
    assert train_run(tiny_config(execution={"workers": 3}), tmp_path).status == "finished"
    digests = digest_run(tmp_path)
    assert digests["weights.safetensors"] == reference["weights.safetensors"]
    assert digests["metrics.jsonl"] == reference["metrics.jsonl"]


def test_a_run_that_goes_on_elsewhere_says_so_and_keeps_both_environments(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(RunStopped):
        train_run(tiny_config(), tmp_path, stop=StopAtLook(2))
    here = EnvironmentRecord.model_validate_json((tmp_path / "environment.json").read_bytes())
    elsewhere = here.model_copy(update={"cpu": "another processor"})
    tiny.setattr("vtbench.training.preparation.describe_environment", lambda device: elsewhere)
    listener = Messages()
    record = train_run(tiny_config(), tmp_path, listener=listener)
    assert "another processor now" in listener.texts[0]
    assert record.environment == elsewhere
    assert load_lines(tmp_path / "earlier_environments.jsonl", EnvironmentRecord) == [here]


def test_timings_survive_a_stop(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RunStopped):
        train_run(tiny_config(), tmp_path, stop=StopAtLook(9))
    train_run(tiny_config(), tmp_path)
    assert len((tmp_path / "timing.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(("slow_step_seconds", "batches_lost"), [(-1.0, 0), (1e9, 2)])
def test_steps_that_a_stop_cannot_wait_for_are_saved_one_by_one(
    tiny: pytest.MonkeyPatch, tmp_path: Path, slow_step_seconds: float, batches_lost: int
) -> None:
    tiny.setattr("vtbench.training.loop._SLOW_STEP_SECONDS", slow_step_seconds)
    tiny.setattr("vtbench.training.loop._WORTH_A_SAVE", 0)
    with pytest.raises(Killed):
        train_run(tiny_config(), tmp_path, stop=KillAtLook(2))
    with pytest.raises(RunStopped) as stopped:
        train_run(tiny_config(), tmp_path, stop=StopAtLook(0))
    assert stopped.value.batch == 3 - batches_lost


def test_a_checkpoint_of_an_older_version_is_refused_and_stays(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RunStopped):
        train_run(tiny_config(), tmp_path, stop=StopAtLook(2))
    older = find_checkpoint(tmp_path / "checkpoint").checkpoint
    assert older is not None
    del older.values["format"]
    save_checkpoint(tmp_path / "checkpoint", older)
    for _ in range(2):
        with pytest.raises(UserError, match=r"another version of vtbench.*give another folder with --out"):
            train_run(tiny_config(), tmp_path)
