"""Studies, recipes and conventions of masks, spoiled key by key and byte by byte."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from calling import call, check_answer, check_nothing_left
from good_inputs import TINY_DATA
from spoiling import IN_PLACE, hold, replace, spoiled_bytes, spoiled_trees, to_toml

STUDY = {
    "question": "Which is better?",
    "base": "vt_resnet20:width=4",
    "reference": "twin",
    "recipe": "small",
    "epochs": 1,
    "seeds": 2,
    "freeze": ["conv1.*"],
    "data": {"spec": TINY_DATA, "image_size": 32, "limit_train": 20, "limit_val": 10},
    "arms": {"twin": "{twin}", "wide": {"variant": "{base}"}},
    "factors": {"num_tokens": [4, 8], "position": ["on", "off"]},
}
RECIPE = {
    "epochs": 2,
    "batch_size": 8,
    "label_smoothing": 0.1,
    "gradient_clip_norm": 2.0,
    "dropout": 0.1,
    "stochastic_depth": 0.1,
    "ema_decay": 0.9,
    "freeze": ["conv1.*"],
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    "schedule": {"name": "step", "milestones": [0.3, 0.6], "decay": 0.1, "warmup": 0.05, "warmup_start": 0.1},
    "augmentation": {"crop_padding": 0, "flip": True, "scale": [0.5, 1.5], "crop": [24, 24]},
}
CONVENTION = {
    "names": ["ground", "left", "right"],
    "palette": [[0, 0, 0], [255, 0, 0], [0, 255, 0]],
    "ignore": [255],
    "ignore_colours": [[9, 9, 9]],
    "left_right": [[1, 2]],
}
DOCUMENTS: dict[str, tuple[dict[str, Any], Sequence[str]]] = {
    "study": (STUDY, ("ablate", "{file}", "--device", "cpu", "--out", "out/deeper")),
    "recipe": (
        RECIPE,
        (
            "train",
            "resnet20:width=2",
            "--data",
            TINY_DATA,
            "--device",
            "cpu",
            "--recipe",
            "{file}",
            "--out",
            "out/deeper",
        ),
    ),
    "convention": (CONVENTION, ("data", "folder:masks,classes={file}")),
}
"""A good document, and the command that reads it."""
EXAMPLES = [6, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.not_in_ci])]


@pytest.fixture
def masks(place: Path) -> Path:
    """Eight images with masks of three classes."""
    import numpy as np
    from PIL import Image

    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (place / "masks" / split / kind).mkdir(parents=True)
        for number in range(4):
            noise = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place / "masks" / split / "images" / f"{number}.png")
            Image.fromarray(noise[:, :, 0] % 3).save(place / "masks" / split / "masks" / f"{number}.png")
    return place


def judge(kind: str, place: Path, *, refused: bool | None = None) -> None:
    """The command takes the document or refuses it in a paragraph, and leaves nothing behind where it does."""
    words = [word.format(file="document.toml") for word in DOCUMENTS[kind][1]]
    shutil.rmtree(place / "out", ignore_errors=True)
    answer = call(words)
    check_answer(answer, refused=refused)
    check_nothing_left(place / "out", answer)


@pytest.mark.parametrize("kind", list(DOCUMENTS))
def test_the_good_document_is_taken(kind: str, masks: Path) -> None:
    Path("document.toml").write_text(to_toml(DOCUMENTS[kind][0]))
    judge(kind, masks, refused=False)


@pytest.mark.parametrize("num_examples", EXAMPLES)
@pytest.mark.parametrize("kind", list(DOCUMENTS))
def test_a_document_with_spoiled_keys_is_taken_or_refused(kind: str, num_examples: int, masks: Path) -> None:
    def check(tree: dict[str, Any]) -> None:
        Path("document.toml").write_text(to_toml(tree), errors="replace")
        judge(kind, masks)

    hold(check, num_examples, tree=spoiled_trees(DOCUMENTS[kind][0]))


@pytest.mark.parametrize("num_examples", EXAMPLES)
@pytest.mark.parametrize("kind", list(DOCUMENTS))
def test_a_document_with_spoiled_bytes_is_taken_or_refused(kind: str, num_examples: int, masks: Path) -> None:
    def check(data: bytes) -> None:
        Path("document.toml").write_bytes(data)
        judge(kind, masks)

    hold(check, num_examples, data=spoiled_bytes(to_toml(DOCUMENTS[kind][0]).encode()))


@pytest.mark.parametrize("kind", list(DOCUMENTS))
@pytest.mark.parametrize("what", list(IN_PLACE))
def test_something_else_in_the_place_of_a_document_is_refused(kind: str, what: str, masks: Path) -> None:
    replace(Path("document.toml"), what)
    judge(kind, masks, refused=True if what != "empty" and kind != "recipe" else None)
