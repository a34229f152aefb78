"""What can go wrong when a model is profiled; every one names the model or module and the cause."""

from __future__ import annotations

from vtbench.errors import UserError


class ProfileError(UserError):
    """A model whose cost cannot be had."""


class UnknownOperatorError(ProfileError):
    """An operator that is neither counted nor declared free ran."""


class RefusedOperatorError(ProfileError):
    """An operator or a pattern ran whose multiply-accumulates have no agreed count."""


class CostMismatchError(ProfileError):
    """The trace and the closed forms disagree, or the closed forms leave a part of a registered model out."""
