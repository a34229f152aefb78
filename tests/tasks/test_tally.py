"""What a tally sums is the same for any division of the same batches."""

from __future__ import annotations

import pytest
import torch

from vtbench.metrics import METRICS
from vtbench.tasks import TASKS, Tally

TASK = TASKS["classification"]
SCORES = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [0.0, 1.0]])
LABELS = torch.tensor([0, 1, 1, 1])


def tally_of(*rows: slice, num_batches: int = 1, batch: int = 0) -> Tally:
    tally = Tally(TASK, num_batches)
    for row in rows:
        tally.count(SCORES[row], LABELS[row])
        tally.add_loss(batch, TASK.sum_losses(SCORES[row], LABELS[row]), TASK.count_items(LABELS[row]))
        batch += 1
    return tally


def test_loss_and_accuracy_are_means_over_images_and_not_over_batches() -> None:
    whole, parts = tally_of(slice(0, 4)), tally_of(slice(0, 3), slice(3, 4), num_batches=2)
    assert whole.read()["top1_percent"] == parts.read()["top1_percent"] == 75.0
    by_hand = torch.nn.functional.cross_entropy(SCORES, LABELS).item()
    assert whole.read()["loss"] == pytest.approx(by_hand)
    assert parts.read()["loss"] == pytest.approx(by_hand)


def test_batches_that_are_still_to_come_do_not_count() -> None:
    assert tally_of(slice(0, 4), num_batches=7).read() == tally_of(slice(0, 4)).read()


def test_the_sums_of_two_shares_of_each_batch_add_up_to_the_whole() -> None:
    whole, shares = tally_of(slice(0, 4)), [tally_of(slice(rank, 4, 2)) for rank in range(2)]
    together = Tally(TASK, 1)
    together.sums = {name: shares[0].sums[name] + shares[1].sums[name] for name in shares[0].sums}
    assert together.read() == pytest.approx(whole.read())


@pytest.mark.parametrize("name", list(TASKS))
def test_a_task_measures_what_its_metrics_are(name: str) -> None:
    assert TASKS[name].name == name
    assert list(TASKS) == list(METRICS)
