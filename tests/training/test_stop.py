from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from vtbench.training import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop_and_the_handlers_of_before_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopRequest().on_signals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
    assert signal.getsignal(number) == before
    assert not [
        thread
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and not thread.finished.is_set()
    ]


STUCK = """
import signal, sys, time
from vtbench.training import StopRequest
with StopRequest().on_signals(grace_seconds=float(sys.argv[1])):
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
"""


def start_stuck(grace_seconds: float, code: str = STUCK) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(grace_seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_step_that_does_not_end_is_left_after_the_time_of_grace() -> None:
    with start_stuck(0.2) as process:
        process.send_signal(signal.SIGTERM)
        _, message = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert b"goes on from the last checkpoint" in message


@pytest.mark.parametrize(
    ("parting", "said"),
    [
        ("IN_A_PLAN", StopRequest.IN_A_PLAN),
        ("BEFORE_CELLS", "Stopped before the next cell was begun; the same command again begins there."),
    ],
)
def test_what_is_lost_is_said_as_it_is(parting: str, said: str) -> None:
    code = STUCK.replace("StopRequest().on_signals", "stop.on_signals")
    code = code.replace("with stop", f"stop = StopRequest()\nstop.parting = stop.{parting}\nwith stop")
    with start_stuck(0.2, code) as process:
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=300)
    assert message.decode().strip() == said


def test_a_second_signal_ends_at_once() -> None:
    with start_stuck(60) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
