"""Spellings of variants, weights, images and masks of every wrong kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from calling import call, check_answer, check_nothing_left
from good_inputs import TINY_DATA, TINY_MODEL
from hypothesis import strategies as st
from PIL import Image
from spoiling import IN_PLACE, hold, replace, spoiled_bytes

EXAMPLES = [5, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.not_in_ci])]
SPELLING = "vt_resnet20:width=8,num_tokens=4,position=on"
SOME = [what if index % 5 == 0 else pytest.param(what, marks=pytest.mark.slow) for index, what in enumerate(IN_PLACE)]


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_a_spoiled_spelling_is_counted_or_refused(num_examples: int, place: Path) -> None:
    pieces = st.lists(
        st.sampled_from([*SPELLING.replace(":", ",").split(","), ":", ",", "=", "0", "-1", "é"]), max_size=6
    )
    texts = st.one_of(
        pieces.map("".join),
        pieces.map(",".join).map(lambda tail: f"vt_resnet20:{tail}"),
        spoiled_bytes(SPELLING.encode()).map(lambda data: data.decode("latin-1")[:200]),
        st.text(max_size=12),
    )

    def check(text: str) -> None:
        check_answer(call(["profile", "--", text.replace("\0", "")]))

    hold(check, num_examples, text=texts.filter(lambda text: ".py:" not in text and not set("*?[") & set(text)))


@pytest.fixture
def pictures(place: Path) -> Path:
    """Two classes of four images for each split."""
    draw = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            folder = place / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                noise = draw.integers(0, 256, (16, 16, 3))
                Image.fromarray(noise.astype(np.uint8)).save(folder / f"{number}.png")
    return place


def judge_pictures(place: Path) -> None:
    shutil.rmtree(place / "out", ignore_errors=True)
    words = ["train", "resnet20:width=2", "--data", "folder:pictures", "--image-size", "16", "--device", "cpu"]
    answer = call([*words, "--recipe", "small", "--out", "out"])
    check_answer(answer)
    check_nothing_left(place / "out", answer)


@pytest.mark.parametrize("what", SOME)
def test_something_else_in_the_place_of_an_image_is_refused_or_does_no_harm(what: str, pictures: Path) -> None:
    replace(pictures / "pictures" / "train" / "cat" / "1.png", what)
    judge_pictures(pictures)


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_an_image_with_spoiled_bytes_is_refused_or_does_no_harm(num_examples: int, pictures: Path) -> None:
    image = pictures / "pictures" / "train" / "cat" / "1.png"

    def check(data: bytes) -> None:
        image.write_bytes(data)
        judge_pictures(pictures)

    hold(check, num_examples, data=spoiled_bytes(image.read_bytes()))


@pytest.mark.parametrize("num_examples", EXAMPLES)
@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_weights_with_spoiled_bytes_are_refused_or_do_no_harm(
    suffix: str, num_examples: int, place: Path, finished_run: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights, file = load_file(finished_run / "weights.safetensors"), place / f"start.{suffix}"
    save_file(weights, file) if suffix == "safetensors" else torch.save(weights, file)

    def check(data: bytes) -> None:
        file.write_bytes(data)
        shutil.rmtree(place / "out", ignore_errors=True)
        words = ["train", TINY_MODEL, "--data", TINY_DATA, "--image-size", "16", "--device", "cpu", "--recipe", "small"]
        answer = call([*words, "--init", str(file), "--out", "out"])
        check_answer(answer)
        check_nothing_left(place / "out", answer)

    hold(check, num_examples, data=spoiled_bytes(file.read_bytes()))
