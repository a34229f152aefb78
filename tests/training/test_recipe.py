from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.training import list_recipes, load_recipe


def test_the_recipes_that_come_along_are_found() -> None:
    assert list_recipes() == (
        "advanced", "default", "segmentation", "segmentation_lip", "segmentation_small", "small",
    )  # fmt: skip


def test_the_default_recipe_is_the_papers() -> None:
    recipe = load_recipe("default")
    assert (recipe.epochs, recipe.batch_size) == (90, 256)
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.momentum) == ("sgd", 0.1, 0.9)
    assert optimizer.weight_decay == 4e-5
    assert (recipe.label_smoothing, recipe.dropout, recipe.stochastic_depth, recipe.ema_decay) == (0, 0, 0, None)


def test_the_advanced_recipe_is_that_of_the_papers_table_8() -> None:
    recipe = load_recipe("advanced", teacher="timm:resnet50")
    assert (recipe.epochs, recipe.batch_size, recipe.optimizer.name) == (400, 2048, "rmsprop")
    assert (recipe.dropout, recipe.stochastic_depth, recipe.ema_decay) == (0.2, 0.1, 0.99985)
    assert recipe.augmentation.auto_augment
    assert recipe.sync_batch_norm
    assert recipe.label_smoothing > 0
    assert recipe.distillation is not None
    assert (recipe.distillation.teacher, recipe.distillation.weight) == ("timm:resnet50", 0.8)


def test_the_recipes_of_segmentation_are_those_of_the_paper_where_it_prints_them() -> None:
    coco, lip = load_recipe("segmentation"), load_recipe("segmentation_lip")
    assert (coco.batch_size, coco.optimizer.learning_rate) == (32, 0.04)
    assert (lip.batch_size, lip.optimizer.learning_rate, lip.optimizer.weight_decay) == (96, 0.01, 5e-4)
    assert lip.augmentation.crop == (473, 473)
    assert lip.augmentation.swap_on_flip == ((14, 15), (16, 17), (18, 19))
    assert (coco.schedule.name, lip.schedule.name) == ("step", "polynomial")
    assert coco.sync_batch_norm and lip.sync_batch_norm


def test_scaling_and_padding_do_not_mix(tmp_path: Path) -> None:
    for text, message in (
        ("scale = [0.5, 2.0]", "set crop_padding = 0"),
        ("crop_padding = 0\nscale = [2.0, 0.5]", "smallest, largest"),
        ("swap_on_flip = [[1, 2], [2, 3]]", "one pair only"),
    ):
        (tmp_path / "r.toml").write_text(f"[augmentation]\n{text}\n")
        with pytest.raises(UserError, match=message):
            load_recipe(tmp_path / "r.toml")


def test_a_recipe_that_distils_asks_for_its_teacher() -> None:
    with pytest.raises(UserError, match="--teacher"):
        load_recipe("advanced")
    assert load_recipe("advanced", teacher="none").distillation is None


def test_a_teacher_can_be_given_to_any_recipe() -> None:
    recipe = load_recipe("small", teacher="runs/teacher")
    assert recipe.distillation is not None
    assert recipe.distillation.teacher == "runs/teacher"


def test_epochs_replace_those_of_the_recipe() -> None:
    assert load_recipe("default", epochs=7).epochs == 7


@pytest.mark.parametrize("epochs", [0, -3])
def test_a_run_of_no_epochs_is_refused(epochs: int) -> None:
    with pytest.raises(UserError, match=rf"'epochs' was given {epochs}"):
        load_recipe("default", epochs=epochs)


def test_a_typo_is_answered_with_the_nearest_recipe() -> None:
    with pytest.raises(UserError, match="Did you mean 'default'"):
        load_recipe("defalt")


def test_a_file_of_the_user_is_a_recipe_named_like_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\n[optimizer]\nlearning_rate = 0.5\n")
    recipe = load_recipe(path)
    assert (recipe.name, recipe.epochs, recipe.optimizer.learning_rate) == ("mine", 3, 0.5)
    assert load_recipe(str(path)) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = ", "is not TOML"),
        ("epoch = 3", "unknown key 'epoch'"),
        ("[optimizer]\nname = 'adam'", "'optimizer.name' was given 'adam'"),
        ("label_smoothing = 1.5", "'label_smoothing' was given 1.5"),
        ("window = 32\nstride = [32, 33]", "windows must leave no gap"),
        ("stride = 16", "windows must leave no gap"),
    ],
)
def test_a_faulty_recipe_file_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_recipe(path)


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recipe file"):
        load_recipe(tmp_path / "none.toml")


def test_recipes_load_without_torch() -> None:
    code = "import sys, vtbench.training as t; t.load_recipe('small'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
