"""What is profiled: a model, a copy of it without weights, and a way to one with values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from vtbench.profiling.meta_copy import copy_to_meta, unwrap_model


@dataclass(frozen=True)
class Subject:
    """A model to be profiled. ``meta`` is free to be used up; ``build_real`` makes one with values if ever needed.

    ``original`` is the model whose parameters are counted. A ``meta`` of None means that it could not be copied.
    """

    name: str
    original: nn.Module
    meta: nn.Module | None
    build_real: Callable[[], nn.Module]


def take_subject(model: nn.Module, name: str) -> Subject:
    """Make a user's live model a subject: copied, never touched."""
    original = unwrap_model(model)
    try:
        meta = copy_to_meta(original)
    except Exception:  # A model may hold anything, and what cannot be copied raises anything.
        meta = None
    return Subject(name, original, meta, lambda: copy.deepcopy(original))
