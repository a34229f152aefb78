from __future__ import annotations

import io
import math
import threading
from dataclasses import replace

import pytest
from rich.console import Console

from vtbench.cli.progress import LiveDisplay, RunDisplay, RunView
from vtbench.metrics import TOP1
from vtbench.records import EpochRecord, NotMeasured, TimingRecord
from vtbench.training import BatchProgress, RunStart

START = RunStart(
    "classification", "resnet20", "runs/x", 3, "cpu", 90, 10, 2000, 500, 10, 0, 0, NotMeasured(reason="test")
)
BATCH = BatchProgress(
    epoch=0, batch=5, num_batches=10, train={"loss": 2.25, "top1_percent": 12.5}, images_per_second=400.0
)
EPOCH = EpochRecord(
    epoch=0,
    learning_rate=0.1,
    train={"loss": 2.125, "top1_percent": 20.0},
    val={"loss": 2.0, "top1_percent": 25.5},
)
TIMING = TimingRecord(epoch=0, train_seconds=5.0, val_seconds=1.0, train_images_per_second=400.0)


def display_on(terminal: bool, width: int = 80) -> tuple[LiveDisplay, io.StringIO]:
    stream = io.StringIO()
    return LiveDisplay(Console(file=stream, force_terminal=terminal, width=width, highlight=False)), stream


def test_in_a_terminal_a_long_line_that_stays_is_wrapped_and_loses_no_word() -> None:
    display, stream = display_on(terminal=True)
    with display:
        display.say(" ".join(f"word{place}" for place in range(30)))
    assert all(f"word{place}" in stream.getvalue() for place in range(30))
    assert max(map(len, stream.getvalue().splitlines())) <= 80 + len("\x1b[?25l") * 2


def test_a_pipe_gets_one_plain_line_an_epoch() -> None:
    display, stream = display_on(terminal=False)
    with display:
        listener = RunDisplay(display)
        listener.on_start(START)
        listener.on_batch(BATCH)
        listener.on_epoch(EPOCH, TIMING)
        listener.on_message("A word.")
    lines = stream.getvalue().splitlines()
    assert lines == [
        "resnet20, seed 3: 90 epochs of 2,000 images in 10 classes, 500 to validate, on cpu",
        "epoch 1/90  train loss 2.1250  train 20.00 %  val 25.50 %  400 images/s  8 min 54 s left",
        "A word.",
    ]


def test_the_speed_of_a_slow_run_is_not_rounded_to_nothing() -> None:
    display, stream = display_on(terminal=False)
    listener = RunDisplay(display)
    listener.on_start(START)
    listener.on_epoch(EPOCH, TIMING.model_copy(update={"train_images_per_second": 0.31}))
    assert "  0.31 images/s" in stream.getvalue()


def test_a_run_that_goes_on_says_where() -> None:
    display, stream = display_on(terminal=False)
    RunDisplay(display).on_start(RunStart(**{**vars(START), "first_epoch": 4, "first_batch": 7}))
    assert "Going on in epoch 5 after 7 batches" in stream.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_a_line_that_fits_it(width: int) -> None:
    display, _ = display_on(terminal=True, width=width)
    listener = RunDisplay(display)
    listener.on_start(START)
    listener.on_batch(BATCH)
    console = Console(file=io.StringIO(), force_terminal=True, width=width, highlight=False)
    with console.capture() as capture:
        console.print(display._render())
    (line,) = capture.get().splitlines()
    for part in ("epoch 1/90", "loss 2.250", "train 12.5 %", "400 images/s", "7 min 28 s left"):
        assert part in line


def test_no_thread_draws_beside_the_one_that_says_things_and_it_draws_now_and_then() -> None:
    display, stream = display_on(terminal=True)
    before = threading.active_count()
    with display:
        view = display.show("a", "classification")
        assert threading.active_count() == before
        display.above = "one\ntwo\nthree"
        display.refresh()
        display.above = "one"
        view.epochs = 3
        display.refresh()
        assert "starts" in stream.getvalue() and "0/3" not in stream.getvalue(), "it is not yet time to draw again"


def test_the_longest_line_of_one_run_fits_80_columns() -> None:
    display, _ = display_on(terminal=True)
    view = display.show("x", "classification")
    view.begin(replace(START, epochs=400, first_epoch=300, num_train=1_281_167))
    view.move(BatchProgress(399, 4, 5005, {"loss": 12.3456, "top1_percent": 1.0}, 12345.6))
    view.val = 100.0
    with display.console.capture() as capture:
        display.console.print(display._render())
    text = capture.get()
    assert len(text.splitlines()) == 1
    assert "left" in text


def test_several_runs_stand_in_a_table_below_what_is_above() -> None:
    display, _ = display_on(terminal=True)
    display.above = "the grid"
    for label in ("static, seed 0", "dynamic, seed 0"):
        display.show(label, "classification").begin(replace(START, epochs=9, num_train=100))
    with display.console.capture() as capture:
        display.console.print(display._render())
    lines = capture.get().splitlines()
    assert lines[0] == "the grid"
    assert "train" in lines[1] and "run" not in lines[1] and "loss" in lines[2]
    assert [line.split(",")[0] for line in lines[3:]] == ["static", "dynamic"]
    display.drop("static, seed 0")
    display.drop("dynamic, seed 0")
    assert not display._views


def test_the_time_left_comes_from_whole_epochs_as_soon_as_there_are_some() -> None:
    view = RunView("x", TOP1)
    assert view.seconds_left() is None
    view.begin(replace(START, epochs=10, num_train=1000))
    view.move(replace(BATCH, batch=1, num_batches=2, images_per_second=100.0))
    assert view.seconds_left() == pytest.approx(95)
    assert view.done == pytest.approx(0.05)
    view.end_epoch(EPOCH, TIMING.model_copy(update={"train_seconds": 11.0}))
    assert view.seconds_left() == pytest.approx(9 * 12)


def test_a_loss_that_is_no_number_is_shown_as_a_dash() -> None:
    display, _ = display_on(terminal=True)
    view = display.show("x", "classification")
    view.begin(START)
    view.move(replace(BATCH, train={"loss": math.nan, "top1_percent": 10.0}))
    with display.console.capture() as capture:
        display.console.print(display._render())
    assert "loss –" in capture.get()


def test_the_accuracy_that_is_shown_is_that_of_the_averaged_weights() -> None:
    averaged = EPOCH.model_copy(update={"averaged_val": {"loss": 1.0, "top1_percent": 75.0}})
    display, stream = display_on(terminal=False)
    listener = RunDisplay(display)
    listener.on_start(START)
    listener.on_epoch(averaged, TIMING)
    assert "val 75.00 %" in stream.getvalue()
    assert listener._view.val == 75.0
