"""A helper of a tiny run: ``python tiny_helper.py TASK [RANK DEED BATCH]``; the deed is done at a step of that rank."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from tiny_parts import tiny_world

from vtbench.training.follower import help_once
from vtbench.training.trainer import Trainer

_train_batch = Trainer.train_batch


def fail_at(rank: int, deed: str, batch: int) -> None:
    """Let that rank come to harm before a batch."""

    def train_batch(self: Trainer, *share: Any) -> None:
        if self.world.rank == rank and self.step == batch:
            if deed == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("no such thing")
        _train_batch(self, *share)

    Trainer.train_batch = train_batch  # type: ignore[method-assign]


if __name__ == "__main__":
    if len(sys.argv) > 2:
        fail_at(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    with tiny_world(sys.argv[1]):
        help_once()
