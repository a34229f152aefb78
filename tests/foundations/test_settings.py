"""Any setting of recipe and data is named by a dotted key that follows from the configuration."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from vtbench.cli.main import app
from vtbench.configuration import DataConfig, RunConfig
from vtbench.errors import UserError
from vtbench.run_options import RunOptions, TrainOptions, spell_flags
from vtbench.search_space import Range
from vtbench.settings import (
    change_settings,
    list_settings,
    parse_settings,
    read_settings,
    spell_setting,
    undo_treatment,
)
from vtbench.training import load_recipe


@pytest.mark.parametrize("key", list_settings())
def test_every_key_can_be_read_and_what_is_read_is_spelt_so_that_it_is_set_again(key: str) -> None:
    data, recipe = DataConfig(limit_train=7), load_recipe("advanced", teacher="timm:resnet18")
    value = read_settings(data, recipe, [key])[key]
    parsed = parse_settings([f"{key}={spell_setting(value)}"]) if value != [] else {key: []}
    assert change_settings(data, recipe, parsed, source="test") == (data, recipe)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe.epochs", "Write KEY=VALUE"),
        ("epochs=3", "Did you mean 'recipe.epochs'"),
        ("recipe.optimizer.lerning_rate=3", "Did you mean 'recipe.optimizer.learning_rate'"),
        ("recipe.augmentation.scale=[1", "is no list"),
        (f"recipe.augmentation.scale={'[' * 5000}{']' * 5000}", "is no list"),
        ("num_tokens=8", "NAME:option=value"),
    ],
)
def test_a_setting_that_is_none_is_answered_with_the_mend(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_settings([text])


def test_a_setting_is_asked_for_once() -> None:
    with pytest.raises(UserError, match=r"recipe\.epochs twice"):
        parse_settings(["recipe.epochs=1", "recipe.epochs=2"])
    for option, text in ({"epochs": 3}, "recipe.epochs=3"), ({"batch_size": 3}, "recipe.batch_size=3"):
        with pytest.raises(UserError, match="is given twice, with --"):
            TrainOptions(**option, set=[text])  # type: ignore[arg-type]


def test_what_differs_from_the_recipes_file_stands_in_the_command_that_repeats_a_run() -> None:
    recipe = load_recipe("small", batch_size=32, settings={"recipe.schedule.warmup": "0.1", "recipe.epochs": 3})
    assert recipe.changed == ("batch_size", "schedule.warmup")
    options = RunOptions.of_run(RunConfig(variant="resnet20", data=DataConfig(), recipe=recipe))
    assert options.epochs == 3
    assert options.set == ["recipe.batch_size=32", "recipe.schedule.warmup=0.1"]
    again = load_recipe("small", epochs=3, settings=options.settings)
    assert again == recipe


def test_a_value_out_of_range_names_the_key() -> None:
    with pytest.raises(UserError, match=r"'recipe.optimizer.learning_rate' was given '-1'"):
        load_recipe("small", settings={"recipe.optimizer.learning_rate": "-1"})
    with pytest.raises(UserError, match=r"'data\.image_size' was given '1'"):
        RunOptions(set=["data.image_size=1"]).choose_data(DataConfig())


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        (
            "recipe.optimizer.weight_decay=-1",
            "'recipe.optimizer.weight_decay' was given '-1': allowed: a number from 0.",
        ),
        (
            "recipe.label_smoothing=1",
            "'recipe.label_smoothing' was given '1': allowed: a number from 0 to less than 1.",
        ),
        ("recipe.epochs=99999999999", "allowed: a whole number from 1 to 100,000."),
        ("data.limit_val=1e3", "'data.limit_val' was given '1e3': allowed: a whole number from 1 to 2,147,483,647."),
        ("recipe.augmentation.flip=maybe", "was given 'maybe': allowed: on or off."),
        ("recipe.window=[1, 2, 3]", "'recipe.window' was given [1, 2, 3]: allowed: 2 values."),
        ("recipe.augmentation.scale=[1]", "'recipe.augmentation.scale' was given [1]: too few values."),
        ("recipe.freeze=head", "'recipe.freeze' was given 'head': allowed: a list, written [first, second]."),
        ("recipe.class_weights=[-1]", "'recipe.class_weights.0' was given -1: allowed: a number from 0;"),
        ("recipe.class_weights=even", "allowed: a list, written [first, second] or 'inverse_frequency' or 'median"),
    ],
)
def test_a_value_that_is_not_taken_is_answered_with_what_is(setting: str, answer: str) -> None:
    with pytest.raises(UserError, match=re.escape(answer)):
        change_settings(DataConfig(), load_recipe("small"), parse_settings([setting]), source="--set")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("recipe.optimizer.lr", "recipe.optimizer.learning_rate"),
        ("wd", "recipe.optimizer.weight_decay"),
        ("recipe.learning_rte", "recipe.optimizer.learning_rate"),
        ("recipe.mixup", "recipe.augmentation.mixup"),
        ("recipe.bs", "recipe.batch_size"),
    ],
)
def test_a_key_is_found_by_its_last_word_and_by_what_people_call_it(key: str, meant: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"there is no setting {key!r}. Did you mean {meant!r}?")):
        parse_settings([f"{key}=1"])


def test_one_number_stands_for_both_sides_on_the_command_line_too() -> None:
    assert load_recipe("small", settings=RunOptions(set=["recipe.window=64"]).settings).window == (64, 64)


def test_a_teacher_may_be_declared_where_the_study_has_none() -> None:
    recipe = load_recipe("small")
    data, taught = change_settings(
        DataConfig(), recipe, {"recipe.distillation.teacher": "timm:resnet18"}, source="test"
    )
    config = RunConfig(variant="resnet20", data=data, recipe=taught, declared={"recipe.distillation.teacher": None})
    assert taught.distillation is not None
    assert undo_treatment(config).recipe == recipe


def test_set_on_the_command_line_is_refused_in_one_line() -> None:
    result = CliRunner().invoke(app, ["train", "resnet20", "--set", "recipe.epoch=3"])
    assert isinstance(result.exception, UserError)
    assert "Did you mean 'recipe.epochs'" in str(result.exception)


def test_a_large_number_is_shown_as_people_write_it_wherever_one_is_shown() -> None:
    with pytest.raises(UserError, match="was given 1e12: allowed: a number from 0 to less than 1"):
        change_settings(DataConfig(), load_recipe("small"), {"recipe.label_smoothing": 1e12}, source="test")
    with pytest.raises(ValueError, match=r"it was given 1e12 and 2\.5e9"):
        Range(low=1e12, high=2.5e9)
    assert spell_setting(1e12) == "1e12"
    assert spell_flags(TrainOptions(learning_rate=1e12), ("learning_rate",)) == ["--learning-rate", "1e12"]
