"""What becomes of a command that torchrun starts several times over: the first process does it, the others help.

``python -m vtbench.cli.started`` is a process that another one has started to help with a run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from vtbench.errors import UserError

_SHARED = ("train", "ablate")


def help_first(arguments: Sequence[str]) -> None:
    """Return in the first process, or where there is but one; in another one do its share, and leave.

    Raises ``UserError`` in the first for a verb that cannot be shared.
    """
    if not _is_one_of_several():
        return
    is_first = os.environ["RANK"] == "0"
    verb = next((word for word in arguments if not word.startswith("-")), "")
    if verb not in _SHARED:
        if not is_first:
            sys.exit(2)
        raise UserError(f"torchrun shares a run among processes, with train and ablate. Call {verb or 'this'} without.")
    if not is_first:
        import vtbench.models  # noqa: F401 - fills the registry of models.
        from vtbench.training.follower import follow_torchrun

        follow_torchrun()
        sys.exit(0)


def dismiss_helpers() -> None:
    """Let the other processes that torchrun has started end, too."""
    if _is_one_of_several():
        from vtbench.training.team import join_started

        join_started().dismiss()


def _is_one_of_several() -> bool:
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # What every command asks is answered without an import.
        return False
    from vtbench.environment import count_started

    return count_started() > 1


if __name__ == "__main__":
    import vtbench.models  # noqa: F401 - fills the registry of models.
    from vtbench.training.follower import help_once

    help_once()
