"""Every execution option, changed on what goes on, is refused unless it changes no bit, or is promised."""

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from vtbench.configuration import DataConfig, ExecutionConfig, Recipe, RunConfig
from vtbench.errors import UserError
from vtbench.settings import spell_setting
from vtbench.studies.cells import ResolvedStudy
from vtbench.studies.ledger import Ledger
from vtbench.training.folder import accept_config, write_config

CHANGES_NO_BIT = {"workers", "checkpoint_seconds", "uncounted", "shard_optimizer"}
GOES_ON = {*CHANGES_NO_BIT, "devices"}
"""Another number of devices changes rounding, and a run goes on with it: machines fail."""
RECIPE = Recipe(name="mini", epochs=2)
BEFORE = ExecutionConfig(device="cpu")


def change(option: str) -> ExecutionConfig:
    """The configuration with another valid value of ``option``."""
    annotation, value = ExecutionConfig.model_fields[option].annotation, getattr(BEFORE, option)
    other: Any
    if get_origin(annotation) is Literal:
        other = next(choice for choice in get_args(annotation) if choice != value)
    elif isinstance(value, bool):
        other = not value
    else:
        other = "mps" if isinstance(value, str) else (value or 0) + 1
    changed = ExecutionConfig.model_validate(BEFORE.model_dump() | {option: other})
    assert changed != BEFORE
    return changed


def make_study(execution: ExecutionConfig) -> ResolvedStudy:
    return ResolvedStudy(
        name="mini",
        question="Does it work?",
        base=None,
        reference="good",
        arms={"good": "resnet20"},
        data=DataConfig(),
        recipe=RECIPE,
        seeds=1,
        execution=execution,
    )


@pytest.mark.parametrize("option", ExecutionConfig.model_fields)
def test_a_study_goes_on_with_another_option_only_if_it_may(tmp_path: Path, option: str) -> None:
    ledger, other = Ledger(tmp_path), make_study(change(option))
    ledger.adopt(make_study(BEFORE))
    if option in GOES_ON:
        ledger.adopt(other)
        assert ledger.read_study() == other
        return
    before, now = spell_setting(getattr(BEFORE, option)), spell_setting(getattr(other.execution, option))
    with pytest.raises(UserError, match=rf"another study: execution\.{option} is {before} there and {now} now\."):
        ledger.adopt(other)
    assert ledger.read_study() == make_study(BEFORE)


@pytest.mark.parametrize("option", ExecutionConfig.model_fields)
def test_a_run_goes_on_with_another_option_only_if_it_may(tmp_path: Path, option: str) -> None:
    begun = RunConfig(variant="resnet20", data=DataConfig(), recipe=RECIPE, execution=BEFORE)
    asked = begun.model_copy(update={"execution": change(option)})
    write_config(tmp_path, begun)
    if option in GOES_ON:
        assert accept_config(tmp_path, asked) == asked
    elif option == "threads":  # They are the machine's to give, and a run keeps those that it was begun with.
        assert accept_config(tmp_path, asked) == begun
    else:
        with pytest.raises(UserError, match=rf"another configuration: execution\.{option} is .* there and .* here\."):
            accept_config(tmp_path, asked)
