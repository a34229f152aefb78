"""The options of every verb are frozen: whoever adds, renames or drops one changes this file, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from vtbench.cli.commands import DerivedCommand, derive_options
from vtbench.cli.main import app, build_command, list_verbs
from vtbench.configuration import Effect, ExecutionConfig
from vtbench.datasets import list_datasets
from vtbench.run_options import StudyOptions, TrainOptions, spell_flags
from vtbench.training import list_recipes
from vtbench.written import Configuration

RUN = (
    "data recipe epochs teacher init freeze limit-train limit-val image-size set batch-size learning-rate weight-decay "
    "label-smoothing clip"
)
EXECUTION = "precision channels-last compile accumulate eval-batch-size"
SURFACE = {
    "list": "patterns format json options",
    "data": "data image-size out recipe set draws seed format overwrite json",
    "profile": (
        "models image-size channels input batch-size num-classes by depth against train-mode backward "
        "count-contractions at-limits fuse compare-tools measure device precision threads "
        "time-limit jobs out format json"
    ),
    "train": (
        f"model {RUN} seed device devices threads workers {EXECUTION} checkpoint-seconds shard-optimizer uncounted "
        "out exact-as track json"
    ),
    "ablate": (
        f"study {RUN} base arm seeds until smallest-effect max-seeds threads jobs try exact-as executor "
        f"address device devices workers {EXECUTION} shard-optimizer uncounted out store plan cluster no-probe fresh "
        "retry-failed verify-resume "
        "list measure track json"
    ),
    "watch": "runs once every json",
    "report": "runs out format json against archive published all-figures interim measure device batch-size time-limit "
    "overwrite",
    "audit": "runs format json table",
    "evaluate": "run data limit-val image-size set batch-size device out overwrite json",
    "export": "run format data out overwrite json",
    "predict": "run image out top white set overwrite device format json",
    "tokens": (
        "run model image mask index data split module head look foreground leave-out image-size device seed out "
        "overwrite json"
    ),
}


def test_every_verb_has_these_arguments_and_options_in_this_order() -> None:
    assert list_verbs() == list(SURFACE)
    for verb, names in SURFACE.items():
        found = [max(parameter.opts, key=len).removeprefix("--") for parameter in build_command(verb).params]
        assert found == [*names.split(), "quiet", "verbose"], verb


@pytest.mark.parametrize("verb", ["train", "ablate"])
def test_help_names_every_data_set_and_recipe_that_is_registered(verb: str) -> None:
    text = re.sub(r"\s+", " ", CliRunner().invoke(app, [verb, "--help"]).output)
    assert ", ".join(list_datasets()) in text
    assert ", ".join(list_recipes()) in text


@pytest.mark.parametrize("verb", ["profile", "train", "ablate", "tokens"])
def test_help_says_that_a_model_of_a_file_runs_its_code(verb: str) -> None:
    text = re.sub(r"\s+", " ", CliRunner().invoke(app, [verb, "--help"]).output)
    assert re.search(r"FILE\.py:CALLABLE(\[,\.\.\.\], which)? runs that file's code[.;]", text)


def test_the_readme_says_wherever_models_of_files_are_told_of_that_their_code_is_run() -> None:
    text = re.sub(r"\s+", " ", (Path(__file__).parents[2] / "README.md").read_text("utf-8"))
    assert "`FILE.py` is run with your rights" in text.partition("### Networks of others")[2].partition("### ")[0]
    promises = text.partition("## What is promised")[2].partition("## ")[0]
    assert "`FILE.py:CALLABLE` runs the code of that file with your rights, and so does what opens a run" in promises


class Choices(Configuration):
    allow_tf32: bool = False
    channels_last: bool = True
    steps: int = 3
    left_out: int = 1


def test_a_field_is_all_that_an_option_needs_and_what_is_printed_for_it_is_read_back() -> None:
    asked: list[Choices] = []

    def verb(*, choices: Annotated[Choices, ("left_out",)], name: Annotated[str, typer.Option()] = "n") -> None:
        asked.append(choices)

    alone = typer.Typer()
    alone.command(cls=DerivedCommand)(derive_options(verb))
    wanted = Choices(allow_tf32=True, channels_last=False, steps=5)
    words = spell_flags(wanted, list(Choices.model_fields))
    assert words == ["--steps", "5", "--allow-tf32", "--no-channels-last"]
    assert CliRunner().invoke(alone, words).exit_code == 0
    assert CliRunner().invoke(alone, ["--left-out", "2"]).exit_code != 0
    assert asked == [wanted]


def test_every_execution_setting_says_what_it_does_to_the_numbers_and_to_the_user() -> None:
    effects = [ExecutionConfig.list_settings(effect) for effect in Effect]
    assert sorted(name for names in effects for name in names) == sorted(ExecutionConfig.model_fields)
    for kind in (ExecutionConfig, TrainOptions, StudyOptions):
        assert all(field.description for field in kind.model_fields.values())


@pytest.mark.parametrize("columns", [60, 80])
def test_a_default_in_brackets_and_an_option_are_broken_only_where_they_have_no_room_on_a_line(columns: int) -> None:
    for verb in list_verbs():
        text = CliRunner().invoke(app, [verb, "-h"], env={"COLUMNS": str(columns)}).output
        assert text.startswith("Usage") and text.isascii()
        broken = [" ".join(found.split()) for found in re.findall(r"\[[^\[\]]*\n[^\[\]]*\]|--[\w-]*-\n *\w+", text)]
        assert [found for found in broken if len(found) <= columns - 36] == []
