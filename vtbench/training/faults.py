"""What went wrong in the middle of a run, in words for someone who has not read the code."""

from __future__ import annotations

import errno

import torch

from vtbench.errors import UserError
from vtbench.training.trainer import DivergenceError


def describe_fault(error: Exception) -> str | None:
    """One paragraph on a fault that is known to happen to honest runs; None for one that looks like a mistake in code.

    Known are: divergence, data that cannot be read (the death of a worker is one such), a full disk, a folder that
    cannot be written, memory that does not suffice, a GPU that reports an error or vanished.
    """
    text = str(error)
    if isinstance(error, (DivergenceError, UserError)):
        return text
    if isinstance(error, OSError):
        return _describe_file_fault(error)
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


def _describe_file_fault(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full{where}. Make room; the same command then goes on from the last checkpoint."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return (
            f"Files cannot be written any more{where}: {error.strerror}. Make the folder writable; the same command "
            "then goes on from the last checkpoint."
        )
    return f"A file could not be read or written{where}: {error.strerror or error}."


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].rstrip(".")
