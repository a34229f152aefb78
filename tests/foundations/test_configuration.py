import pytest

from vtbench.configuration import DistillationConfig, OptimizerConfig, Recipe, list_differences, validate_configuration
from vtbench.errors import UserError


def test_an_unknown_key_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"my\.toml: unknown key 'batchsize'. Did you mean 'batch_size'"):
        validate_configuration(Recipe, {"name": "mine", "batchsize": 3}, source="my.toml")


def test_an_unknown_key_of_a_nested_table_is_answered_with_the_nearest_of_that_table() -> None:
    with pytest.raises(UserError, match=r"unknown key 'optimizer.nesterow'. Did you mean 'nesterov'"):
        validate_configuration(Recipe, {"name": "mine", "optimizer": {"nesterow": True}}, source="my.toml")


def test_zero_epochs_are_refused_with_the_bound() -> None:
    with pytest.raises(UserError, match="'epochs' was given 0: Input should be greater than or equal to 1"):
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
