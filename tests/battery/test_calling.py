"""The battery's own guards: a command that never answers fails, a slow machine does not, and Ctrl-C ends the tests."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import calling
import pytest
from calling import call
from good_inputs import TINY_MODEL
from kept_folders import SMALL, TRAIN


def wait() -> None:
    threading.Event().wait()


def work() -> None:
    while True:
        pass


@pytest.mark.parametrize(("command", "said"), [(wait, "has done nothing for"), (work, "has worked for")])
def test_a_command_that_waits_or_works_without_end_fails(
    command: Callable[[], None], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "run", command)
    monkeypatch.setattr(calling, "_LOOK_SECONDS", 0.05)
    monkeypatch.setattr(calling, "_MOST_CPU_SECONDS", 0.2)
    with pytest.raises(AssertionError, match=said):
        call(["list"])


def test_a_command_that_gets_little_of_the_machine_does_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "run", lambda: time.sleep(0.5))
    monkeypatch.setattr(calling, "_LOOK_SECONDS", 0.01)
    worked = (0.02 * number for number in itertools.count())
    monkeypatch.setattr(time, "process_time", lambda: next(worked))
    assert call(["list"]).code == 0


def test_a_command_that_is_interrupted_ends_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "run", lambda: sys.exit(calling.INTERRUPTED))
    with pytest.raises(KeyboardInterrupt):
        call(["list"])


@pytest.mark.usefixtures("place")
def test_an_interrupt_that_a_run_would_take_for_a_wish_to_stop_ends_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtbench.training.run.EpochLoop.run", lambda self: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        call(["train", TINY_MODEL, *TRAIN, *SMALL, "--out", "out"])
