"""Whatever happens to a run or a study, nothing finished is lost, and it goes on to the same bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from disturbed import FAULTS

KILLED = {"kill": -9, "read-only": -9, "no flock": -9, "clock set back": -9, "SIGHUP": -1, "parent killed": -9}
STOPPED = {"SIGTERM": {130}, "SIGINT": {130}, "full disk": {1, 2}, "full inodes": {1, 2}, "worker killed": {0, 1}}
ENDS = {fault: {KILLED[fault]} if fault in KILLED else STOPPED.get(fault, {0}) for fault in FAULTS}
"""How the disturbed command may end: by the signal, with the exit code that the README states, or well."""


@pytest.fixture(
    scope="module",
    params=[(subject, task) for subject in ("run", "study") for task in ("classification", "segmentation")],
    ids=" ".join,
)
def suffered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of every fault."""
    script = Path(__file__).with_name("disturbed.py")
    command = [sys.executable, str(script), *request.param, str(tmp_path_factory.mktemp("suffered"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {found["fault"]: found for found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.not_in_ci
@pytest.mark.parametrize("fault", list(FAULTS))
def test_nothing_finished_is_lost_and_the_end_is_the_same(suffered: dict[str, dict[str, Any]], fault: str) -> None:
    found = suffered[fault]
    if "skipped" in found:
        pytest.skip(found["skipped"])
    assert found["code"] in ENDS[fault], found["said"]
    assert "Traceback" not in found["said"] + found["said_again"], found
    assert found["epochs_before"] > 0
    assert found["kept"], found
    assert found["again"] == 0, found["said_again"]
    assert found["different"] == []
