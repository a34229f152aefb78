"""The images that a run keeps: which they are, that they are what the network says, and always the same bytes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_parts import TinyImages, TinySegmenter, tiny_config
from torch import Tensor, nn

import vtbench.models  # noqa: F401 - registers the networks.
from vtbench.configuration import Recipe
from vtbench.datasets.batches import EvalBatches
from vtbench.datasets.dataset import VOID
from vtbench.metrics import MIOU
from vtbench.records.examples import Examples, decode_attention, read_examples
from vtbench.run_folder import EXAMPLES
from vtbench.tasks import TASKS
from vtbench.training import train_run
from vtbench.training.answers import AnswerKeeper
from vtbench.training.evaluation import evaluate
from vtbench.training.examples import NUM_FIXED, NUM_WORST, ExampleMaker, choose_images
from vtbench.training.token_maps import observe_tokens
from vtbench.training.world import World
from vtbench.variants import create_model

TASK = TASKS["segmentation"]


class VoidAtFirst(TinyImages):
    """Three times as large, with original masks larger still, of which the first is all void."""

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return super().read(indices).repeat(3, axis=1).repeat(3, axis=2)

    def read_original_masks(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        masks = super().read_original_masks(indices)
        return [np.full_like(mask, VOID) if index == 0 else mask for index, mask in zip(indices, masks, strict=True)]


class OneOfTwo(World):
    size = 2

    def __init__(self, rank: int, others: dict[str, Tensor] | None = None) -> None:
        self.rank, self.others = rank, others
        self.given: dict[str, Tensor] = {}

    def all_sum(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        self.given = tensors
        return tensors if self.others is None else {name: tensors[name] + self.others[name] for name in tensors}


IMAGES = VoidAtFirst(12, 2, image_size=(24, 24))


def build(variant: str = "") -> nn.Module:
    torch.manual_seed(0)
    model = create_model(variant, num_classes=4, image_size=(24, 24)) if variant else TinySegmenter(4, 4)
    return model.eval()


def make_maker(model: nn.Module, batch_size: int, world: World | None = None, data: Any = IMAGES) -> ExampleMaker:
    world = world or World()
    trainer = SimpleNamespace(
        task=TASK, world=world, recipe=Recipe(name="r"), to_device=lambda tensor: tensor, autocast=nullcontext
    )
    batches = EvalBatches(data, batch_size, targets=TASK, rank=world.rank, num_ranks=world.size)
    return ExampleMaker(model, trainer, batches, data)  # type: ignore[arg-type]


def score(maker: ExampleMaker) -> NDArray[np.float64]:
    keeper = AnswerKeeper(TASK)
    settings: dict[str, Any] = {"to_device": lambda tensor: tensor, "autocast": nullcontext}
    evaluate(maker.model, maker.batches, task=TASK, by_image=keeper.by_image, observe=keeper.hear, **settings)
    return keeper.gather(maker.batches, maker.data, maker.trainer.world).scores


def test_the_worst_come_first_and_an_image_in_which_nothing_counts_is_none_of_them() -> None:
    scores = np.array([50.0, np.nan, 10.0, 90.0, 10.0, 70.0])
    fixed, worst = choose_images(scores, MIOU)
    assert worst == (2, 4, 0)
    assert fixed == choose_images(scores[::-1], MIOU)[0]
    assert len(set(fixed)) == NUM_FIXED
    assert choose_images(-scores, replace(MIOU, better="lower"))[1] == worst
    assert choose_images(np.array([1.0]), MIOU) == ((0,), (0,))


def test_counting_image_by_image_comes_to_the_same_numbers() -> None:
    batches, by_image = EvalBatches(IMAGES, 5, targets=TASK), list[float]()
    settings: dict[str, Any] = {"task": TASK, "to_device": lambda tensor: tensor, "autocast": nullcontext}
    whole = evaluate(build(), batches, **settings)
    assert evaluate(build(), batches, **settings, by_image=by_image) == whole
    assert len(by_image) == 12
    assert [np.isnan(value) for value in by_image] == [True] + [False] * 11
    alone = make_maker(build(), 1, data=IMAGES)
    (part, mask), *_ = TASK.align(build()(alone.batches.read_one(7)[0]), alone.batches.read_one(7)[1])
    assert by_image[7] == TASK.measure({**TASK.count(part, mask), "items": torch.tensor(1)})[MIOU.key]


def test_examples_are_the_same_bytes_for_any_batch_and_two_processes() -> None:
    model = build("vt_fpn_resnet18:stem=small,width=8,num_tokens=4")
    whole = make_maker(model, 12)
    scores = score(whole)
    expected = whole.make(scores)
    second = OneOfTwo(1)
    score(make_maker(model, 5, second))
    for maker in (make_maker(model, 1), make_maker(model, 5), make_maker(model, 5, OneOfTwo(0, second.given))):
        np.testing.assert_allclose(score(maker), scores)
        assert maker.make(score(maker)) == expected
    assert not model.training


def test_an_example_is_the_image_its_truth_what_the_network_says_and_where_its_tokens_look() -> None:
    model = build("vt_fpn_resnet18:stem=small,width=8,num_tokens=6")
    maker = make_maker(model, 12)
    kept = read_examples(maker.make(score(maker)), "these")
    assert isinstance(kept, Examples)
    assert (kept.num_judged, len(kept.worst), len(kept.list_fixed())) == (11, NUM_WORST, NUM_FIXED)
    for one in kept.examples:
        index = np.array([one.note.index])
        images, truth = maker.batches.read_one(one.note.index)
        np.testing.assert_array_equal(one.image, IMAGES.read(index)[0])
        np.testing.assert_array_equal(one.truth, IMAGES.read_original_masks(index)[0])
        with torch.no_grad():
            ((part, mask),) = TASK.align(model(images), truth)
        np.testing.assert_array_equal(one.prediction, part[0].argmax(0).numpy())
        if (mask != VOID).any():
            right = (one.prediction == one.truth)[one.truth != VOID].mean()
            assert one.note.outcome["pixel_accuracy_percent"] == pytest.approx(100 * right)
        (observed,) = observe_tokens(model, images).images
        for noted, levels, maps in zip(one.note.maps, one.maps, observed, strict=True):
            assert (noted.num_tokens, len(noted.tokens)) == (6, 4)
            kept_maps = maps.attention[list(noted.tokens)]
            np.testing.assert_allclose(decode_attention(levels), kept_maps, rtol=0.03, atol=0.02)


def test_large_images_are_kept_small_and_a_file_is_about_a_megabyte_at_most() -> None:
    class Large(TinyImages):
        def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
            return np.random.default_rng(0).integers(0, 256, (len(indices), 300, 420, 3), np.uint8)

        def read_original_masks(self, indices: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
            return [np.random.default_rng(1).integers(0, 4, (600, 840), np.uint8) for _ in indices]

    data = Large(12, 0, image_size=(300, 420))
    model = nn.Conv2d(3, 4, 1)
    packed = make_maker(model, 4, data=data).make(np.arange(12.0))
    assert len(packed) < 1.3e6
    kept = read_examples(packed, "these")
    assert {one.image.shape for one in kept.examples} == {(182, 256, 3)}
    assert {one.truth.shape for one in kept.examples} == {(182, 256)}


@pytest.mark.parametrize("task", ["segmentation"])
def test_a_run_keeps_the_examples_of_the_weights_that_its_numbers_belong_to(
    tiny: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = train_run(tiny_config(), tmp_path)
    kept = read_examples((tmp_path / EXAMPLES).read_bytes(), "these")
    assert record.status == "finished"
    assert kept.num_judged == 12
    values = [kept.find(index).note.outcome[MIOU.key] for index in kept.worst]  # type: ignore[union-attr]
    assert values == sorted(values)
    assert max(values) <= min(one.note.outcome[MIOU.key] for one in kept.examples if one.note.index not in kept.worst)


def test_a_run_of_classification_keeps_none(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_run(tiny_config(), tmp_path)
    assert not (tmp_path / EXAMPLES).exists()
