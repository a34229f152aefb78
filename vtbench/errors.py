"""Mistakes of the user, each answered with one paragraph and exit code 2."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """What came, what is allowed, how to mend it, in one paragraph. The command line prints it without a traceback."""


ABBREVIATIONS = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "bf16": "bfloat16",
    "fp16": "float16",
    "fp32": "float32",
    "gpu": "cuda",
    "tb": "tensorboard",
    "tv": "torchvision",
}
"""What people write for a name of here."""


def format_names(names: Iterable[object], *, most: int | None = 12) -> str:
    """Names in a message, in quotes where a comma, a space or nothing would leave open where one ends.

    Of more than ``most`` the first are named, and how many more there are; None names all.

    >>> format_names(["cat", "sports car", "a,b"])
    "cat, 'sports car', 'a,b'"
    >>> format_names("abcde", most=3)
    'a, b, c and 2 more'
    """
    words = [str(name) for name in names]
    shown = [repr(word) if not word or "," in word or word.split() != [word] else word for word in words[:most]]
    return ", ".join(shown) + (f" and {len(words) - len(shown)} more" if len(shown) < len(words) else "")


def format_value(value: object) -> str:
    """A value as Python has it, but a large number as people write it; it is read as the same again.

    >>> [format_value(value) for value in (1e12, 2_500_000.0, 100_000.0, 1.0, 1e-05, 8, "8")]
    ['1e12', '2.5e6', '100000.0', '1.0', '1e-05', '8', '8']
    """
    short = f"{value:g}" if isinstance(value, float) else ""
    return short.replace("e+0", "e").replace("e+", "e") if "e+" in short and float(short) == value else str(value)


def did_you_mean(received: str, allowed: Iterable[str], *, most: int = 3) -> str:
    """Name the nearest of the allowed words, or list them when there are few.

    One that differs in capitals and hyphens alone, or that is abbreviated in `ABBREVIATIONS`, is the only one named.
    Returns a sentence such as ``"Did you mean 'resnet34' or 'resnet32'?"``; never empty as long as anything is allowed.
    """
    words = list(allowed)
    if near := _find_near(received, words, most):
        return f"Did you mean {' or '.join(repr(word) for word in near)}?"
    if len(words) <= 20:
        return f"Allowed: {format_names(words, most=None) or 'none'}."
    return f"There are {len(words)}; the first are {format_names(words[:8])}."


def find_nearest(received: str, allowed: Iterable[str]) -> str | None:
    """The nearest of the allowed words, as `did_you_mean` finds it; None where none is near."""
    return next(iter(_find_near(received, list(allowed), 1)), None)


def _find_near(received: str, words: list[str], most: int) -> list[str]:
    meant = _plain(ABBREVIATIONS.get(received.lower(), received))
    return [word for word in words if _plain(word) == meant] or difflib.get_close_matches(
        received, words, n=most, cutoff=0.5
    )


def _plain(word: str) -> str:
    return "".join(letter for letter in word.lower() if letter not in "-_. ")


def describe_file_fault(error: OSError) -> str:
    """What the operating system refused, in words for someone who has not read the code, with the mend."""
    where = f" at {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full{where}, or has no room for more files. Make room, and give the same command again."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return (
            f"A file cannot be read or written{where}: {error.strerror}. "
            "Make it accessible, and give the same command again."
        )
    return f"A file could not be read or written{where}: {error.strerror or error}."
