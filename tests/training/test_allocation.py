from __future__ import annotations

import platform
import subprocess
import sys

from vtbench.training.allocation import keep_freed_memory

COUNT_FAULTS = """
import resource, sys, torch
from vtbench.training.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def step():
    return [torch.zeros(2_000_000) for _ in range(4)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", COUNT_FAULTS, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_memory_that_a_step_frees_is_there_for_the_next() -> None:
    if platform.libc_ver()[0] == "glibc":
        assert count_faults("keep") < 0.2 * count_faults("plain")


def test_other_systems_are_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
