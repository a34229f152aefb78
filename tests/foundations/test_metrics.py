import pytest

from vtbench.metrics import METRICS, TOP1, Metric


def test_a_metric_gives_the_words_of_tables_axes_and_progress_lines() -> None:
    assert (TOP1.head, TOP1.axis, TOP1.difference_unit) == ("top-1 (%)", "top-1 accuracy (%)", "points")
    assert (TOP1.format(71.5), TOP1.show(71.5, digits=1), TOP1.format(float("nan"))) == ("71.50", "71.5 %", "–")


def test_a_difference_of_other_quantities_keeps_their_unit() -> None:
    assert Metric("shift_px", "shift", "mean shift", "px", 1, "lower").difference_unit == "px"


@pytest.mark.parametrize("task", list(METRICS))
def test_metrics_of_a_task_have_keys_of_their_own_that_are_not_that_of_the_loss(task: str) -> None:
    keys = [metric.key for metric in METRICS[task]]
    assert len({*keys, "loss"}) == len(keys) + 1
