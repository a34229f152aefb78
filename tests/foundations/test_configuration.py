import pytest

from vtbench.configuration import Recipe, validate_configuration
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
