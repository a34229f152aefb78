from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

import vtbench.models
import vtbench.studies.study  # noqa: F401  (both so that all configurations are there)
from vtbench.configuration import (
    AugmentationConfig,
    DataConfig,
    DistillationConfig,
    ExecutionConfig,
    OptimizerConfig,
    Recipe,
    RunConfig,
)
from vtbench.errors import UserError
from vtbench.records import TimingRecord
from vtbench.written import Configuration, list_differences, read_toml, validate_configuration


def test_notes_on_how_settings_came_to_be_make_no_difference_and_are_written_down() -> None:
    for plain, noted, other in (
        (
            Recipe(name="mine"),
            Recipe(name="mine", file="mine.toml", changed=("epochs",)),
            Recipe(name="mine", epochs=3),
        ),
        (DataConfig(), DataConfig(cleared=("limit_train",)), DataConfig(limit_train=3)),
    ):
        assert (plain == noted, hash(plain) == hash(noted), plain == other) == (True, True, False)
        assert {plain, noted, other} == {plain, other}
        assert type(noted).model_validate_json(noted.model_dump_json()).model_dump() == noted.model_dump()
        assert noted.model_dump() != plain.model_dump()
    runs = [RunConfig(variant="resnet20", data=DataConfig(), recipe=recipe) for recipe in (
        Recipe(name="mine"), Recipe(name="mine", file="mine.toml"), Recipe(name="other"),
    )]  # fmt: skip
    assert runs[0] == runs[1] != runs[2]


def test_what_has_no_notes_is_equal_by_kind_and_by_every_field() -> None:
    class One(Configuration):
        number: int = 1

    class Other(Configuration):
        number: int = 1

    assert One() == One() and hash(One()) == hash(One()) and One(number=2) != One()
    assert One() != Other() and Recipe(name="mine") != One() and DataConfig() != "scenes"


def test_an_unknown_key_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"my\.toml: unknown key 'batchsize'. Did you mean 'batch_size'"):
        validate_configuration(Recipe, {"name": "mine", "batchsize": 3}, source="my.toml")


def test_an_unknown_key_of_a_nested_table_is_answered_with_the_nearest_of_that_table() -> None:
    with pytest.raises(UserError, match=r"unknown key 'optimizer.nesterow'. Did you mean 'nesterov'"):
        validate_configuration(Recipe, {"name": "mine", "optimizer": {"nesterow": True}}, source="my.toml")


def test_zero_epochs_are_refused_with_the_bound() -> None:
    with pytest.raises(UserError, match="'epochs' was given 0: allowed: a whole number from 1 to 100,000"):
        validate_configuration(Recipe, {"name": "mine", "epochs": 0}, source="my.toml")


def test_a_configuration_cannot_be_changed() -> None:
    recipe = Recipe(name="mine")
    with pytest.raises(ValueError, match="frozen"):
        recipe.epochs = 3  # type: ignore[misc]


def test_differences_are_named_by_dotted_keys_in_the_order_of_declaration() -> None:
    mine = Recipe(name="mine", label_smoothing=0.1, optimizer=OptimizerConfig(nesterov=True))
    yours = Recipe(name="mine", distillation=DistillationConfig(teacher="resnet20"))
    assert list_differences(mine, yours) == [
        ("optimizer.nesterov", True, False),
        ("label_smoothing", 0.1, 0.0),
        ("distillation.teacher", None, "resnet20"),
        ("distillation.weight", None, 0.8),
        ("distillation.temperature", None, 1.0),
    ]
    assert (
        list_differences(mine, yours, exclude={"optimizer": {"nesterov"}, "distillation": True})[0][0]
        == "label_smoothing"
    )
    assert list_differences(mine, mine) == []


def _list_numbers() -> Iterator[tuple[type[Configuration], str, type]]:
    kinds = [Configuration]
    for kind in kinds:
        kinds += kind.__subclasses__()
        for name, field in kind.model_fields.items():
            for number in (int, float):
                if field.annotation in (number, number | None):
                    yield kind, name, number


@pytest.mark.parametrize(("kind", "name", "number"), list(_list_numbers()))
def test_no_number_of_any_configuration_is_without_end(kind: type[Configuration], name: str, number: type) -> None:
    for endless in (float("inf"), -float("inf"), float("nan")) if number is float else (10**20,):
        with pytest.raises(ValidationError) as caught:
            kind.model_validate({name: endless})
        assert name in {problem["loc"][0] for problem in caught.value.errors()}


@pytest.mark.parametrize(("kind", "name", "number"), list(_list_numbers()))
def test_true_is_no_number_of_any_configuration(kind: type[Configuration], name: str, number: type) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate({name: True})
    assert name in {problem["loc"][0] for problem in caught.value.errors()}


def test_true_is_no_number_among_several_and_stays_true_where_that_is_asked_for() -> None:
    with pytest.raises(UserError, match="'image_size' was given True: allowed: a whole number from 8 to"):
        validate_configuration(DataConfig, {"image_size": True}, source="")
    with pytest.raises(UserError, match=r"'scale' was given"):
        validate_configuration(AugmentationConfig, {"scale": (True, 1.0), "crop_padding": 0}, source="")
    assert validate_configuration(OptimizerConfig, {"nesterov": True}, source="").nesterov is True


def test_a_number_that_sizes_something_is_refused_with_its_bound() -> None:
    with pytest.raises(UserError, match="'threads' was given 99999: allowed: a whole number from 1 to 1,024"):
        validate_configuration(ExecutionConfig, {"threads": 99999}, source="The command line")


def test_a_record_takes_no_infinity() -> None:
    with pytest.raises(ValidationError, match="finite"):
        TimingRecord.model_validate_json(
            '{"epoch": 0, "train_seconds": Infinity, "val_seconds": 1, "train_images_per_second": 2}'
        )


def test_a_file_that_is_nested_too_deeply_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text(f"x = {'[' * 5000}{']' * 5000}")
    with pytest.raises(UserError, match=r"The study .*deep\.toml is nested too deeply"):
        read_toml(tmp_path / "deep.toml", "study")


def test_the_mark_that_editors_put_before_a_text_is_no_part_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "marked.toml").write_text("x = 1", "utf-8-sig")
    assert read_toml(tmp_path / "marked.toml", "study") == {"x": 1}
