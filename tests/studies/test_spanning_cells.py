"""Cells of two processes on two machines of a real Ray cluster: the bytes of one machine, whatever dies in between."""

import time
from pathlib import Path

import psutil
import pytest
from test_ray_cluster import PATIENCE, STUDY, read_address, running

from vtbench.files import hash_file
from vtbench.studies.spanning import Span

FILES = ("weights.safetensors", "metrics.jsonl", "answers.safetensors")
CELL = "cells/narrow/seed-0"
ONE_CELL = STUDY.replace("seeds = 2", "seeds = 1").replace('wide = "resnet20:width=4"\n', "")
NODES = [str(Path(__file__).with_name("ray_nodes.py"))]


def ablate(*options: str) -> list[str]:
    given = ["--device", "cpu", "--devices", "2", "--jobs", "1", "--threads", "1"]
    return ["-m", "vtbench", "ablate", "study.toml", *given, *options]


def hash_cell(study: Path) -> dict[str, str]:
    return {name: hash_file(study / CELL / name) for name in FILES}


def see_epoch(study: Path, *, beyond: int = 0) -> int:
    """Wait until the cell has finished another epoch, and not all; how many it has."""
    until, path = time.monotonic() + 240, study / CELL / "metrics.jsonl"
    while (count := path.read_bytes().count(b"\n") if path.exists() else 0) <= beyond:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not (study / CELL / "record.json").exists()
    return count


def find_helper() -> psutil.Process:
    """The process that the second machine runs for the cell."""
    return next(one for one in psutil.process_iter(["cmdline"]) if "vtbench.cli.started" in (one.info["cmdline"] or ()))


@pytest.mark.cluster
def test_a_cell_on_two_machines_comes_to_the_bytes_of_one_though_a_process_of_it_and_a_machine_die(
    tmp_path: Path,
) -> None:
    """The machine is lost as Ray sees it: the process in which it watches the helper is gone, and that leaves, too."""
    (tmp_path / "study.toml").write_text(ONE_CELL)
    with running(ablate("--out", "local"), tmp_path) as local:
        assert "finished with" in local.communicate(timeout=PATIENCE)[0]
    study = tmp_path / "spread"
    with running(NODES, tmp_path) as cluster:
        there = ["--out", "spread", "--executor", "ray", "--address", read_address(cluster)]
        with running(ablate(*there), tmp_path) as killed:
            before = see_epoch(study)
            find_helper().kill()
            output = killed.communicate(timeout=PATIENCE)[0]
        assert killed.returncode != 0
        assert "In process 2 of 2: The process was killed by SIGKILL" in " ".join(output.split())
        with running(ablate(*there, "--retry-failed"), tmp_path) as lost:
            see_epoch(study, beyond=before)
            parent = find_helper().parent()
            assert parent is not None
            parent.kill()
            output = lost.communicate(timeout=PATIENCE)[0]
    assert lost.returncode == 0, output
    assert "lost its machine and goes on from its last checkpoint on another" in " ".join(output.split())
    assert hash_cell(study) == hash_cell(tmp_path / "local")


def test_processes_of_a_cell_take_the_fewest_machines_that_have_room() -> None:
    span = Span(size=4, cpus=2, gpus=1)
    assert (span.bundle, span.whole) == ({"CPU": 2, "GPU": 1}, {"CPU": 8, "GPU": 4})
    small, large = {"CPU": 64.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 4.0}
    assert span.fits_one([small, large])
    assert not span.fits_one([small, small])
    assert span.fits_all([small, small])
    assert not span.fits_all([small, {"CPU": 3.0, "GPU": 8.0}])
