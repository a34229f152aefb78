"""Mistakes of the user, each answered with one paragraph and exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What came, what is allowed, how to mend it, in one paragraph. The command line prints it without a traceback."""


def did_you_mean(received: str, allowed: Iterable[str], *, most: int = 3) -> str:
    """Name the nearest of the allowed words, or list them when there are few.

    Returns a sentence such as ``"Did you mean 'resnet34' or 'resnet32'?"``; never empty as long as anything is allowed.
    """
    words = list(allowed)
    near = difflib.get_close_matches(received, words, n=most, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(word) for word in near)}?"
    if len(words) <= 20:
        return f"Allowed: {', '.join(words) or 'none'}."
    return f"There are {len(words)}; the first are {', '.join(words[:8])}."
