"""A tiny run that torchrun starts: ``torchrun ... tiny_started.py FOLDER RANK STEP``; at first that rank dies there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tiny_helper import fail_at
from tiny_parts import tiny_config, tiny_world

from vtbench.cli.started import dismiss_helpers
from vtbench.training import train_run
from vtbench.training.follower import follow_torchrun

if __name__ == "__main__":
    folder, rank, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        fail_at(rank, "die", step)
    with tiny_world():
        if os.environ["RANK"] != "0":
            follow_torchrun()
        else:
            train_run(tiny_config(execution={"devices": 2, "checkpoint_seconds": 1e-9}), folder)
            dismiss_helpers()
