"""Completion behind a colon or an equals sign in bash, which breaks ``vt_resnet20:tok`` into three words there.

Bash hands over the three and replaces the last alone by what it is answered. So the words are joined before typer reads
them, and of its answer what stands on the line already is left out. Scripts that were installed before profit, too.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

_ASKED = ("_VTBENCH_COMPLETE", "complete_bash")
_BREAKS = frozenset(":=@")
"""Letters of names here at which bash breaks words, unless they are quoted."""
_SCRIPT_END = "    return 0\n"
_NO_SPACE = "    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=] ]] && compopt -o nospace\n"


@contextmanager
def answer_bash() -> Iterator[None]:
    """Inside the block typer reads whole words, and bash is told only what it replaces; else nothing is changed."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    if os.environ.get(_ASKED[0]) != _ASKED[1] or len(words) < 2:
        yield
        return
    joined, at, typed = join_words(words, int(os.environ.get("COMP_CWORD", "0")))
    os.environ |= {"COMP_WORDS": "\n".join(joined), "COMP_CWORD": str(at)}
    answer = io.StringIO()
    try:
        with redirect_stdout(answer):
            yield
    finally:
        sys.stdout.write("".join(line.removeprefix(typed) for line in answer.getvalue().splitlines(keepends=True)))
        sys.stdout.flush()


def join_words(words: Sequence[str], at: int) -> tuple[list[str], int, str]:
    """The words as they were typed, the place of the one at ``at`` among them, and how it begins before its last piece.

    >>> join_words(["vtbench", "train", "vt_resnet20", ":", "tok"], 4)
    (['vtbench', 'train', 'vt_resnet20:tok'], 2, 'vt_resnet20:')
    """
    joined: list[str] = []
    place, typed, is_open = at, "", False
    for number, word in enumerate(words):
        is_break = bool(word) and _BREAKS.issuperset(word)
        continues = bool(joined) and bool(word) and (is_break or is_open)
        before = joined.pop() if continues else ""
        joined.append(before + word)
        is_open = is_break
        if number == at:
            place, typed = len(joined) - 1, before + word if is_break else before
    return joined, place, typed


def keep_open_ends() -> None:
    """Let the script that typer installs put no space behind ``folder:`` and ``num_tokens=``."""
    from typer import _completion_shared

    script = _completion_shared._completion_scripts["bash"]
    if _NO_SPACE not in script:
        _completion_shared._completion_scripts["bash"] = script.replace(_SCRIPT_END, f"{_NO_SPACE}{_SCRIPT_END}")
