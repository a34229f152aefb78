"""Equal treatment has equal certificates; every difference in treatment shows in the field that bears its name."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_parts import TinyImages, tiny_config

from vtbench.configuration import Recipe, RunConfig
from vtbench.datasets.batches import TrainBatches
from vtbench.records import Certificate
from vtbench.training.certificate import certify

TRAIN, VAL = TinyImages(20, 1), TinyImages(12, 2)


def certificate_of(
    config: RunConfig,
    *,
    train: TinyImages = TRAIN,
    val: TinyImages = VAL,
    teacher: str | None = None,
    workers: int = 0,
) -> Certificate:
    recipe = config.recipe
    batches = TrainBatches(
        train, batch_size=recipe.batch_size, seed=config.seed, augmentation=recipe.augmentation, workers=workers
    )
    return certify(config, batches, train, val, teacher_sha256=teacher)


def changed_fields(one: Certificate, other: Certificate) -> set[str]:
    return {name for name in Certificate.model_fields if getattr(one, name) != getattr(other, name)}


def test_two_arms_of_one_seed_have_equal_certificates() -> None:
    arm = tiny_config().model_copy(update={"variant": "tiny:width=6"})
    assert certificate_of(tiny_config()) == certificate_of(arm)


def test_names_workers_and_threads_do_not_count() -> None:
    other = tiny_config(name="renamed", execution={"workers": 3, "threads": 2, "checkpoint_seconds": 1})
    assert certificate_of(other, workers=3) == certificate_of(tiny_config())


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"seed": 1}, {"sample_order", "augmentation"}),
        ({"augmentation": {"crop_padding": 3}}, {"augmentation", "recipe"}),
        ({"augmentation": {"crop_padding": 4, "flip": False}}, {"augmentation", "recipe"}),
        ({"optimizer": {"learning_rate": 0.2}}, {"schedule", "recipe"}),
        ({"schedule": {"name": "cosine", "warmup": 0.5}}, {"schedule", "recipe"}),
        ({"batch_size": 10}, {"sample_order", "schedule", "recipe"}),
        ({"label_smoothing": 0.2}, {"recipe"}),
        ({"dropout": 0.3}, {"recipe"}),
        ({"class_weights": [1, 2, 1, 1]}, {"recipe"}),
        ({"window": 4}, {"recipe"}),
        ({"augmentation": {"crop_padding": 0, "crop": 6}}, {"augmentation", "recipe"}),
        ({"ema_decay": 0.99}, {"recipe"}),
        ({"execution": {"precision": "bfloat16"}}, {"precision"}),
        ({"execution": {"accumulate": 2}}, {"precision"}),
    ],
    ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_a_planted_difference_shows_where_it_lies(change: dict[str, Any], fields: set[str]) -> None:
    assert changed_fields(certificate_of(tiny_config()), certificate_of(tiny_config(**change))) == fields


def test_settings_that_came_later_leave_earlier_certificates_as_they_were() -> None:
    written = tiny_config().recipe.model_dump(mode="json")
    assert not {"class_weights", "window", "stride"} & written.keys()
    assert not {"scale", "crop", "swap_on_flip"} & written["augmentation"].keys()
    assert "power" not in written["schedule"]
    assert Recipe.model_validate(written) == tiny_config().recipe
    changed = tiny_config(schedule={"name": "polynomial", "power": 2.0}, window=(4, 8)).recipe
    assert Recipe.model_validate_json(changed.model_dump_json()) == changed


def test_rates_that_differ_in_the_eighth_digit_are_another_schedule() -> None:
    rates = [certificate_of(tiny_config(optimizer={"learning_rate": rate})).schedule for rate in (0.1, 0.10000001)]
    assert rates[0] != rates[1]


def test_more_epochs_are_another_treatment() -> None:
    fields = changed_fields(certificate_of(tiny_config()), certificate_of(tiny_config(epochs=3)))
    assert fields == {"sample_order", "augmentation", "schedule", "recipe"}


def test_other_images_show() -> None:
    plain = certificate_of(tiny_config())
    assert "train_data" in changed_fields(plain, certificate_of(tiny_config(), train=TinyImages(20, 5)))
    assert changed_fields(plain, certificate_of(tiny_config(), val=TinyImages(12, 5))) == {"val_data", "val_content"}
    assert changed_fields(plain, certificate_of(tiny_config(), val=TinyImages(10, 2))) == {"val_data"}


def test_what_whole_splits_hold_came_later_and_leaves_earlier_certificates_as_they_were() -> None:
    now = certificate_of(tiny_config())
    before = now.model_copy(update={"train_content": None, "val_content": None})
    assert now.model_dump().keys() - before.model_dump().keys() == {"train_content", "val_content"}
    assert Certificate.model_validate_json(before.model_dump_json()) == before


def test_a_teacher_counts_by_its_weights_and_not_by_its_name() -> None:
    def distilled(name: str, weights: str) -> Certificate:
        return certificate_of(tiny_config(distillation={"teacher": name}), teacher=weights)

    assert distilled("a", "1") == distilled("b", "1")
    assert changed_fields(distilled("a", "1"), distilled("a", "2")) == {"recipe"}
