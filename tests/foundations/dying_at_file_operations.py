"""Do something again and again in processes that die, as if by SIGKILL, at their first, second, ... file operation."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

_OPERATIONS = frozenset(
    {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime"}
)
KILLED = 9


def die_everywhere(prepare: Callable[[], None], act: Callable[[], None], check: Callable[[], None]) -> int:
    """``prepare``, ``act`` until the n-th file operation, ``check``; for all n. Returns the number of deaths."""
    for operation in range(1, 10_000):
        prepare()
        if not _act_and_die(act, operation):
            check()
            return operation - 1
        check()
    raise RuntimeError("It never ends.")


def _act_and_die(act: Callable[[], None], operation: int) -> bool:
    child = os.fork()
    if child == 0:
        count = 0

        def die_in_time(event: str, _: object) -> None:
            nonlocal count
            if event in _OPERATIONS:
                count += 1
                if count == operation:
                    os._exit(KILLED)

        sys.addaudithook(die_in_time)
        try:
            act()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, KILLED):
        raise RuntimeError(f"What was to be killed at file operation {operation} failed by itself.")
    return code == KILLED
