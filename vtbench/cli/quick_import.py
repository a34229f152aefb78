"""Import large packages faster."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_import() -> Iterator[None]:
    """Collect no garbage inside the block, and never again look through what was made in it.

    What an import makes lives to the end; looking through it time and again is a fifth of ``import torch``.
    Triton 3.9.0 is excepted: what is frozen with it is told of as leaked when the process ends.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if "triton" not in sys.modules:
            gc.freeze()
        if was_enabled:
            gc.enable()
