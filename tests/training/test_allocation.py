from __future__ import annotations

import platform
import subprocess
import sys

from vtbench.training.reproducibility import keep_freed_memory

COUNT_FAULTS = """
import resource, torch
from vtbench.training.reproducibility import keep_freed_memory
def count_faults():
    [torch.zeros(2_000_000) for _ in range(4)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        [torch.zeros(2_000_000) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(count_faults(), keep_freed_memory(), count_faults())
"""


def test_memory_that_a_step_frees_is_there_for_the_next() -> None:
    if platform.libc_ver()[0] == "glibc":
        done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
        plain, kept_on, kept = done.stdout.split()
        assert kept_on == "True"
        assert int(kept) < 0.2 * int(plain)


def test_other_systems_are_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
