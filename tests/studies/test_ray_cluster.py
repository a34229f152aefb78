"""A study on a real Ray cluster of two nodes, one of which is killed, comes to the bytes of one machine."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from stand_in_cells import CellNotes, make_study

from vtbench.configuration import DataConfig, Recipe
from vtbench.files import hash_file
from vtbench.records import RunRecord, load_record
from vtbench.studies.cells import list_cells
from vtbench.studies.executor import open_executor
from vtbench.training import StopRequest

pytestmark = pytest.mark.cluster

STUDY = """
question = "Does it survive?"
recipe = "small"
epochs = 8
seeds = 2

[data]
spec = "scenes"
limit_train = 320
limit_val = 100

[arms]
narrow = "resnet20:width=2"
wide = "resnet20:width=4"
"""
PATIENCE = 600
"""Seconds that a process may take at most; what takes longer stands still."""
FILES = ("weights.safetensors", "metrics.jsonl", "record.json", "answers.safetensors")
CELLS = [f"cells/{arm}/seed-{seed}" for arm in ("narrow", "wide") for seed in (0, 1)]
FIRST = [CELLS[0], CELLS[2]]


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *command], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()  # Takes a cluster down.
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def read_address(cluster: subprocess.Popen[str]) -> str:
    """The first line that is one: libraries may print others before. One that says none for long is killed."""
    assert cluster.stdout is not None
    limit = threading.Timer(PATIENCE, cluster.kill)
    limit.start()
    try:
        return next(line.strip() for line in cluster.stdout if re.fullmatch(r"[\d.]+:\d+", line.strip()))
    finally:
        limit.cancel()


def ablate(*options: str) -> list[str]:
    given = ["--device", "cpu", "--jobs", "2", "--threads", "2"]
    return ["-m", "vtbench", "ablate", "study.toml", *given, *options]


def hash_cells(study: Path) -> dict[str, str]:
    return {f"{cell}/{name}": hash_file(study / cell / name) for cell in CELLS for name in FILES}


def count_epochs(study: Path) -> list[int]:
    lines = [study / cell / "metrics.jsonl" for cell in FIRST]
    return [path.read_bytes().count(b"\n") if path.exists() else 0 for path in lines]


def see_epochs(study: Path, *, beyond: list[int]) -> list[int]:
    """Wait until each of the first cells has finished an epoch more, and none of them all; how many each has."""
    until = time.monotonic() + 240
    while not all(now > before for now, before in zip(count_epochs(study), beyond, strict=True)):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not any((study / cell / "record.json").exists() for cell in FIRST)
    return count_epochs(study)


def test_a_study_on_two_nodes_of_which_one_is_killed_and_that_is_stopped_comes_to_the_bytes_of_one_machine(
    tmp_path: Path,
) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    with running(ablate("--out", "local"), tmp_path) as local:
        assert local.communicate(timeout=PATIENCE)[0].count("finished with") == 4
    expected = hash_cells(tmp_path / "local")
    with running([str(Path(__file__).with_name("ray_nodes.py"))], tmp_path) as cluster:
        assert cluster.stdin is not None
        there = ["--out", "spread", "--executor", "ray", "--address", read_address(cluster)]
        with running(ablate(*there), tmp_path) as stopped:
            see_epochs(tmp_path / "spread", beyond=[0, 0])
            stopped.send_signal(signal.SIGINT)
            output = stopped.communicate(timeout=PATIENCE)[0]
        assert stopped.returncode == 130
        assert "The same command goes on from there." in output
        assert list((tmp_path / "spread").glob("cells/*/seed-0/checkpoint/*.safetensors"))
        before = count_epochs(tmp_path / "spread")
        with running(ablate(*there), tmp_path) as study:
            see_epochs(tmp_path / "spread", beyond=before)
            cluster.stdin.write("kill\n")
            cluster.stdin.flush()
            output = study.communicate(timeout=PATIENCE)[0]
    assert study.returncode == 0, output
    assert "lost its machine and goes on from its last checkpoint on another" in output
    assert output.count("finished with") == 4
    assert hash_cells(tmp_path / "spread") == expected
    assert not list((tmp_path / "spread").rglob("failed-*.json"))


@pytest.mark.filterwarnings("default")
def test_a_cell_has_its_own_number_of_threads_whatever_ran_on_the_machine_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = DataConfig(spec="scenes", limit_train=40, limit_val=20)
    study = make_study({"a": "resnet20:width=2"}, seeds=4, data=data, recipe=Recipe(name="mini", epochs=1))
    numbers = (1, 2, 1, 2)
    cells = [cell.with_threads(n) for cell, n in zip(list_cells(study, tmp_path), numbers, strict=True)]
    results = list(open_executor("ray:address=local").run(cells, 1, watcher=CellNotes(), stop=StopRequest()))
    assert [result.error for result in results] == [None] * 4
    assert tuple(load_record(cell.folder / "record.json", RunRecord).environment.threads for cell in cells) == numbers
