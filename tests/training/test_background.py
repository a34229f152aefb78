from __future__ import annotations

import threading

import pytest

from vtbench.training.background import Background


def test_pieces_are_done_in_order_beside_the_caller() -> None:
    done: list[int] = []
    go_on = threading.Event()
    with Background() as background:
        background.begin(lambda: done.append(1) if go_on.wait(60) else None)
        background.begin(lambda: done.append(2))
        assert done == []  # The caller goes on meanwhile.
        go_on.set()
        background.wait()
        assert done == [1, 2]
        background.begin(lambda: done.append(3))
    assert done == [1, 2, 3]


def test_after_a_piece_that_fails_none_is_done_and_the_caller_is_told_once() -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"), Background() as background:
        background.begin(fail)
        background.begin(lambda: done.append(1))
    assert done == []


def test_the_next_call_tells_of_a_failure() -> None:
    background = Background()

    def fail() -> None:
        raise OSError("no space left")

    with background:
        background.begin(fail)
        with pytest.raises(OSError, match="no space left"):
            background.wait()
