from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vtbench.tasks import TASKS

NUM_KILLS = 20
NUM_INSIDE_A_SAVE = 3


@pytest.mark.slow
@pytest.mark.parametrize("task", list(TASKS))
def test_runs_killed_by_the_system_at_20_random_moments_end_in_the_same_bits(tmp_path: Path, task: str) -> None:
    script = Path(__file__).with_name("killed_runs.py")
    command = [sys.executable, str(script), task, str(tmp_path), str(NUM_KILLS), str(NUM_INSIDE_A_SAVE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) >= NUM_KILLS
    assert all(kill["same"] for kill in kills)
    inside_a_save = [kill for kill in kills if kill["half_written"]]
    assert len(inside_a_save) >= NUM_INSIDE_A_SAVE
