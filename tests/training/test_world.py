"""What two processes would share, on worlds that stand in for them one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from tiny_parts import TinyImages, TinyNet, tiny_config
from torch import Tensor

from vtbench.configuration import AugmentationConfig
from vtbench.datasets.batches import EvalBatches, TrainBatches
from vtbench.tasks import TASKS
from vtbench.training import StopRequest
from vtbench.training.evaluation import evaluate
from vtbench.training.loop import EpochLoop
from vtbench.training.preparation import prepare_run
from vtbench.training.progress import ProgressListener, RunStopped
from vtbench.training.world import World

IMAGES = TinyImages(20, 1)
SUMS = dict[str, Tensor]


class OneOfTwo(World):
    """Process ``rank`` of two, whose other one has ``others`` to add and wishes what ``wish`` says."""

    size = 2

    def __init__(self, rank: int, others: SUMS | None = None, *, wish: bool = False) -> None:
        self.rank, self.others, self.wish = rank, others, wish
        self.given: SUMS = {}

    def all_sum(self, tensors: SUMS) -> SUMS:
        self.given = tensors
        return tensors if self.others is None else {name: tensors[name] + self.others[name] for name in tensors}

    def sum_counts(self, counts: Sequence[int]) -> list[int]:
        return [2 * count for count in counts]

    def agree(self, *wishes: bool) -> list[bool]:
        return [wish or self.wish for wish in wishes]


def test_the_shares_of_two_processes_are_together_the_batch_of_one() -> None:
    def draw(rank: int = 0, num_ranks: int = 1) -> list[tuple[Tensor, Tensor]]:
        batches = TrainBatches(
            IMAGES, batch_size=8, seed=0, augmentation=AugmentationConfig(), rank=rank, num_ranks=num_ranks
        )
        return list(batches.epoch(3))

    for whole, first, second in zip(draw(), draw(0, 2), draw(1, 2), strict=True):
        for everything, *shares in zip(whole, first, second, strict=True):
            assert torch.equal(everything[0::2], shares[0])
            assert torch.equal(everything[1::2], shares[1])


def test_two_processes_find_the_numbers_of_the_whole_split() -> None:
    model = TinyNet(4, 4)

    def measure(world: World) -> dict[str, float]:
        batches = EvalBatches(IMAGES, 8, rank=world.rank, num_ranks=world.size)
        task = TASKS["classification"]
        return evaluate(model, batches, task=task, to_device=lambda x: x, autocast=nullcontext, world=world)

    second = OneOfTwo(1)
    alone, share = measure(World()), measure(second)
    together = measure(OneOfTwo(0, second.given))
    assert together == pytest.approx(alone, rel=1e-6)
    assert share["loss"] != pytest.approx(alone["loss"], rel=1e-6)


def loop_of(world: World, folder: Path, listener: ProgressListener) -> EpochLoop:
    prepared = prepare_run(tiny_config(), folder, torch.device("cpu"), listener, world)
    return EpochLoop(prepared, folder, listener, StopRequest())


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_process_saves_publishes_and_reports(
    tiny: pytest.MonkeyPatch, tmp_path: Path, rank: int
) -> None:
    epochs = []

    class Diary(ProgressListener):
        def on_epoch(self, epoch: object, timing: object) -> None:
            epochs.append(epoch)

    loop = loop_of(OneOfTwo(rank), tmp_path, Diary())
    loop.run()
    first = rank == 0
    assert len(epochs) == (2 if first else 0)
    assert (tmp_path / "metrics.jsonl").exists() == first
    assert any((tmp_path / "checkpoint").glob("*.safetensors")) == first


def test_a_process_stops_when_another_was_asked_to(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RunStopped) as stopped:
        loop_of(OneOfTwo(1, wish=True), tmp_path, ProgressListener()).run()
    assert stopped.value.batch == 1
