"""Settings of torch under which a run repeats itself to the bit, and the random draws of each step.

How the C library treats the memory that a step frees changes no number, and is set beside them.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def repeatable(device: torch.device, *, threads: int | None, compiled: bool = False) -> Iterator[None]:
    """Run the block with deterministic kernels and ``threads`` CPU threads; leave torch as it was found.

    On the CPU every operator that the models use has a deterministic kernel, and the result depends on the number of
    threads. On a GPU an operator without one still runs, and torch warns of it by name. What is ``compiled`` is asked
    to be deterministic, too, which loads the compiler.
    """
    threads_before = torch.get_num_threads()
    before = torch.get_deterministic_debug_mode()
    filling: Any = torch.utils.deterministic
    fill_before = filling.fill_uninitialized_memory
    benchmark_before = torch.backends.cudnn.benchmark
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            if threads is not None:
                torch.set_num_threads(threads)
            if compiled:
                torch.use_deterministic_algorithms(True, warn_only=True)
            else:  # `use_deterministic_algorithms` does the same, and loads the compiler.
                torch.set_deterministic_debug_mode("warn")
            filling.fill_uninitialized_memory = False  # It costs time and finds only bugs of torch.
            torch.backends.cudnn.benchmark = False
            yield
        finally:
            torch.set_num_threads(threads_before)
            if compiled:
                torch.use_deterministic_algorithms(before > 0, warn_only=before == 1)
            torch.set_deterministic_debug_mode(before)
            filling.fill_uninitialized_memory = fill_before
            torch.backends.cudnn.benchmark = benchmark_before


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Set torch's generators to a state made from ``(seed, step)``: dropout and the like have no past to restore.

    Processes that share a step draw each its own.
    """
    text = f"{seed}:{step}" if rank == 0 else f"{seed}:{step}:{rank}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "little") >> 1)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # From glibc's malloc.h.
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep what it frees, instead of giving it back and fetching it anew in every step.

    Every step frees and allocates the same activations; handing them back to the system costs a page fault for each
    4 KiB, about a tenth of the time of a small network on a CPU. No number changes. Done where the C library is glibc;
    returns whether it was. It holds for the rest of the process, whose memory then stays at its peak.
    """
    if sys.platform != "linux":
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except AttributeError:  # Another C library, such as musl.
        return False
    return bool(set_option(_TRIM_THRESHOLD, _MOST)) and bool(set_option(_MMAP_THRESHOLD, _MOST))
