"""What operators of our own are in operators of torch: for programs that are read where vtbench is not."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch._ops import OperatorBase

PLAIN_FORMS: dict[OperatorBase, Callable[..., Tensor]] = {}
"""Operator -> a function of the same arguments and result. A part that defines an operator enters it here."""
