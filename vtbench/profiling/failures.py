"""Read the exceptions that models raise."""

from __future__ import annotations

_MOST = 300


def describe_failure(error: BaseException) -> str:
    """The kind and message of an exception in one line, without a full stop at the end."""
    text = " ".join(str(error).split()).rstrip(".") or "no message"
    return f"{type(error).__name__}: {text[:_MOST]}{'...' if len(text) > _MOST else ''}"


def is_limit_of_meta(error: Exception) -> bool:
    """Whether a model failed for want of values, which tensors on the meta device do not have."""
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()
