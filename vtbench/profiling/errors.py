"""What can go wrong when a model is profiled; every one names the model or module and the cause."""

from __future__ import annotations

from vtbench.errors import UserError

_MOST = 300


class ProfileError(UserError):
    """A model whose cost cannot be had."""


class UnknownOperatorError(ProfileError):
    """An operator that is neither counted nor declared free ran."""


class RefusedOperatorError(ProfileError):
    """An operator or a pattern ran whose multiply-accumulates have no agreed count."""


class CostMismatchError(ProfileError):
    """The trace and the closed forms disagree, or the closed forms leave a part of a registered model out."""


def summarize_exception(error: BaseException) -> str:
    """The kind and message of an exception in one line, without a full stop at the end."""
    text = " ".join(str(error).split()).rstrip(".") or "no message"
    return f"{type(error).__name__}: {text[:_MOST]}{'...' if len(text) > _MOST else ''}"


def is_limit_of_meta(error: Exception) -> bool:
    """Whether a model failed for want of values, which tensors on the meta device do not have."""
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()
