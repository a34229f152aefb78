"""What went wrong in the middle of a run, in words for someone who has not read the code."""

from __future__ import annotations

import traceback

import torch

from vtbench.errors import UserError, describe_file_fault
from vtbench.run_folder import ERROR
from vtbench.training.trainer import DivergenceError


class RankFault(Exception):  # noqa: N818 - named as what it tells of is.
    """What went wrong in another process of the run; ``traceback`` is of a mistake in code."""

    def __init__(self, rank: int, size: int, text: str, traceback: str | None = None) -> None:
        self.traceback = traceback
        super().__init__(f"In process {rank + 1} of {size}: {text}")


def describe_any_fault(error: Exception) -> tuple[str, str | None]:
    """One paragraph on ``error``; of one that looks like a mistake in code also the traceback."""
    described = describe_fault(error)
    if described is not None:
        return described, error.traceback if isinstance(error, RankFault) else None
    told = f"Unexpected {type(error).__name__}: {error}. The traceback stands in {ERROR}."
    return told, "".join(traceback.format_exception(error))


def describe_fault(error: Exception) -> str | None:
    """One paragraph on a fault that is known to happen to honest runs; None for one that looks like a mistake in code.

    Known are: divergence, data that cannot be read (the death of a worker is one such), a full disk, a folder that
    cannot be written, memory that does not suffice, a GPU that reports an error or vanished.
    """
    text = str(error)
    if isinstance(error, (DivergenceError, UserError, RankFault)):
        return text
    if isinstance(error, OSError):
        return f"{describe_file_fault(error)} A run then goes on from its last checkpoint."
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text:
        return (
            f"Memory does not suffice: {_first_line(text) or 'an allocation failed'}. "
            "Split each batch with --accumulate, take a smaller --batch-size, or run fewer things at once."
        )
    if isinstance(error, torch.AcceleratorError) or any(name in text for name in ("CUDA error", "CUDNN", "CUBLAS")):
        return (
            f"The GPU reported an error or is gone: {_first_line(text)}. Once it is back, the same command goes on "
            "from the last checkpoint."
        )
    return None


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(".")
