"""Records, checkpoints, ledgers and archives, spoiled: what reads them, and what goes on in their folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from calling import call, check_answer, check_nothing_left
from good_inputs import STUDY
from hypothesis.strategies import sampled_from
from kept_folders import KEPT, make_kept
from spoiling import IN_PLACE, hold, replace, spoiled_bytes, spoiled_trees

ONE_IN = 37
"""The others are slow; it shares no factor with how many things may lie in the place of a file."""
EXAMPLES = [1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.not_in_ci])]
KINDS = [
    pytest.param(
        kind,
        marks=()
        if "run" in kind.split()[:2] and kind != "segmentation run"
        else (pytest.mark.slow, pytest.mark.not_in_ci),
    )
    for kind in KEPT
]
LOCKS = (".lock", "lock")


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory, finished_run: Path, finished_study: Path) -> Path:
    """A folder of every kind."""
    folder = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("study.toml").write_text(STUDY)
        for kind in KEPT:
            make_kept(kind, folder / kind, finished_run, finished_study)
    return folder


def read_all(folder: Path) -> dict[str, str]:
    """The hash of every file beneath ``folder``, locks left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name not in LOCKS
    }


def judge(kind: str, command: str, place: Path) -> None:
    """The command takes what it finds or refuses it in a paragraph; refused, it leaves all as it was."""
    shutil.rmtree(place / "out", ignore_errors=True)
    before = read_all(place / "kept")
    answer = call([word.format(kept="kept") for word in KEPT[kind].commands[command]])
    check_answer(answer)
    check_nothing_left(place / "out", answer)
    if answer.code == 2:
        assert read_all(place / "kept") == before, answer.err


def list_cases() -> Iterator[Any]:
    number = 0
    for kind, folder in KEPT.items():
        for file in folder.files:
            for command in folder.commands:
                for what in IN_PLACE:
                    marks = () if number % ONE_IN == 0 else (pytest.mark.slow, pytest.mark.not_in_ci)
                    yield pytest.param(kind, file, command, what, id=f"{kind} {file} {command} {what}", marks=marks)
                    number += 1


@pytest.mark.parametrize("kind", list(KEPT))
def test_every_good_folder_is_taken(kind: str, kept: Path, place: Path) -> None:
    for command, words in KEPT[kind].commands.items():
        for used in ("kept", "out"):
            shutil.rmtree(place / used, ignore_errors=True)
        shutil.copytree(kept / kind, "kept")
        check_answer(
            call([word.format(kept="kept") for word in words]), refused=kind == "begun run" and command == "report"
        )


@pytest.mark.parametrize(("kind", "file", "command", "what"), list(list_cases()))
def test_something_else_in_the_place_of_a_file_is_refused_or_does_no_harm(
    kind: str, file: str, command: str, what: str, kept: Path, place: Path
) -> None:
    shutil.copytree(kept / kind, "kept")
    replace(place / "kept" / file, what)
    judge(kind, command, place)


@pytest.mark.parametrize("num_examples", EXAMPLES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_spoiled_bytes_is_refused_or_does_no_harm(
    kind: str, num_examples: int, kept: Path, place: Path
) -> None:
    for file in KEPT[kind].files:
        if not (kept / kind / file).exists():
            continue
        data = (kept / kind / file).read_bytes()
        hold(make_check(kept, kind, file, place), num_examples, data=spoiled_bytes(data), command=any_command(kind))


@pytest.mark.parametrize("num_examples", EXAMPLES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_spoiled_keys_is_refused_or_does_no_harm(
    kind: str, num_examples: int, kept: Path, place: Path
) -> None:
    for file in KEPT[kind].files:
        if not file.endswith((".json", ".jsonl")) or not (kept / kind / file).exists():
            continue
        text = (kept / kind / file).read_text()
        tree = json.loads(text.splitlines()[0] if file.endswith(".jsonl") else text)
        spoiled = spoiled_trees(tree).map(lambda tree: f"{json.dumps(tree)}\n".encode())
        hold(make_check(kept, kind, file, place), num_examples, data=spoiled, command=any_command(kind))


def make_check(kept: Path, kind: str, file: str, place: Path) -> Callable[[bytes, str], None]:
    """Judge a command on a folder in which ``file`` holds other data."""

    def check(data: bytes, command: str) -> None:
        shutil.rmtree(place / "kept", ignore_errors=True)
        shutil.copytree(kept / kind, place / "kept")
        (place / "kept" / file).write_bytes(data)
        judge(kind, command, place)

    return check


def any_command(kind: str) -> Any:
    return sampled_from(list(KEPT[kind].commands))
