"""Settings of the recipe and the data vary in a study as options of models do, and nothing else may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stand_in_cells import IN_PROCESS

from vtbench.configuration import ExecutionConfig, RunConfig
from vtbench.documents.table import to_markdown
from vtbench.errors import UserError
from vtbench.records import RunRecord
from vtbench.reporting.arm_settings import tabulate_arms
from vtbench.reporting.factor_tables import (
    list_effect_notes,
    list_effect_numbers,
    list_interaction_numbers,
    tabulate_effects,
    tabulate_interactions,
)
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.rendering import render_markdown
from vtbench.reporting.report import build_report
from vtbench.reporting.style import house_style
from vtbench.reporting.web.report_page import render_page
from vtbench.run_options import StudyOptions
from vtbench.settings import list_settings, read_treatment, undo_treatment
from vtbench.studies.cells import ResolvedStudy, list_cells
from vtbench.studies.executor import Session
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.ledger import Ledger
from vtbench.studies.resolution import resolve_study
from vtbench.studies.running import run_study
from vtbench.studies.study import read_study
from vtbench.training import StopRequest, train_run

HEAD = """
question = "q"
base = "resnet20:width=4"
recipe = "small"
epochs = 1
seeds = 2
[data]
spec = "scenes"
limit_train = 40
limit_val = 20
"""


class Unwatched:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def resolve(folder: Path, text: str, **options: Any) -> ResolvedStudy:
    (folder / "mine.toml").write_text(HEAD + text)
    study = read_study(folder / "mine.toml")
    return resolve_study("mine", study, StudyOptions(**options), ExecutionConfig(device="cpu", threads=1))


def list_configs(study: ResolvedStudy) -> dict[str, RunConfig]:
    return {cell.arm: cell.config for cell in list_cells(study, Path("x"))}


def test_factors_of_recipe_data_and_model_make_the_arms_of_a_crossed_design(tmp_path: Path) -> None:
    text = """
    [factors]
    model = ["{base}", "vt_resnet20"]
    width = [4, 8]
    recipe.optimizer.learning_rate = [0.1, 0.05]
    "recipe.augmentation.auto_augment" = [false, true]
    data.image_size = [24]
    """
    configs = list_configs(resolve(tmp_path, text))
    assert len(configs) == 16
    name = "model=vt_resnet20,width=8,learning_rate=0.05,auto_augment=on,image_size=24"
    config = configs[name]
    assert config.variant == "vt_resnet20:width=8"
    assert (config.recipe.optimizer.learning_rate, config.recipe.augmentation.auto_augment) == (0.05, True)
    assert (config.data.image_size, config.data.limit_train) == (24, 40)
    assert config.declared == {
        "recipe.optimizer.learning_rate": 0.1,
        "recipe.augmentation.auto_augment": False,
        "data.image_size": None,
    }
    assert read_treatment(config) == {
        "recipe.optimizer.learning_rate": 0.05,
        "recipe.augmentation.auto_augment": True,
        "data.image_size": 24,
    }
    assert len({undo_treatment(one).model_dump_json(exclude={"variant"}) for one in configs.values()}) == 1


def test_an_arm_may_have_settings_of_its_own(tmp_path: Path) -> None:
    text = """
    [arms]
    plain = "{base}"
    longer = { variant = "{base}", recipe.epochs = 3, "data.limit_train" = 30 }
    adamw = { variant = "{base}", recipe.optimizer = { name = "adamw", learning_rate = 1e-3 } }
    """
    configs = list_configs(resolve(tmp_path, text))
    assert (configs["plain"].recipe.epochs, configs["longer"].recipe.epochs) == (1, 3)
    assert (configs["plain"].data.limit_train, configs["longer"].data.limit_train) == (40, 30)
    assert (configs["adamw"].recipe.optimizer.name, configs["adamw"].recipe.optimizer.learning_rate) == ("adamw", 1e-3)
    assert configs["plain"].declared == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[factors]\nrecipe.optimiser.learning_rate = [1]",
            r"mine\.toml: .*Did you mean 'recipe.optimizer.learning_rate'",
        ),
        ("[factors]\nrecipe.lerning_rate = [1]", "Did you mean"),
        ("[factors]\nrecipe.epochs = [0]", "The arm 'epochs=0': 'recipe.epochs' was given 0"),
        ('[arms]\na = { variant = "{base}", recipe.epoch = 3 }', r"mine\.toml: .*Did you mean 'recipe.epochs'"),
        ('[arms]\na = { variant = "{base}", recipe.epochs = "x" }', "The arm 'a': 'recipe.epochs' was given 'x'"),
        ("[factors]\nmodel = [1, 2]", "its levels are variants"),
        ('[factors]\nmodel = ["{base}:width=8"]\nwidth = [4]', "sets 'width', which is a factor, too"),
        (
            '[arms]\na = "{base}"\nb = { variant = "{base}", recipe.epochs = 1 }\nc = "{base}"',
            "'a' and 'c' are the same",
        ),
    ],
)
def test_what_cannot_be_varied_is_refused_with_the_mend(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(tmp_path, text)


def test_set_changes_all_arms_and_is_refused_where_arms_have_their_own(tmp_path: Path) -> None:
    text = "[factors]\nrecipe.epochs = [1, 2]"
    study = resolve(tmp_path, text, set=["recipe.optimizer.learning_rate=0.03", "recipe.ema_decay=0.9"])
    assert (study.recipe.optimizer.learning_rate, study.recipe.ema_decay) == (0.03, 0.9)
    for options in ({"set": ["recipe.epochs=3"]}, {"epochs": 3}):
        with pytest.raises(UserError, match="of which the arm 'epochs=1' of the study has a value of its own"):
            resolve(tmp_path, text, **options)


def test_other_data_keep_what_the_study_has_of_limits_of_which_arms_have_their_own(tmp_path: Path) -> None:
    text = '[arms]\na = "{base}"\nb = { variant = "{base}", data.limit_train = 30 }'
    for options in ({"data": "scenes:clutter=2"}, {"set": ["data.spec=scenes:clutter=2"]}):
        for arm in (None, ["a"]):
            data = resolve(tmp_path, text, arm=arm, **options).data
            assert (data.spec, data.limit_train, data.limit_val) == ("scenes:clutter=2", 40, None)
    configs = list_configs(resolve(tmp_path, text, data="scenes:clutter=2"))
    assert {arm: one.data.limit_train for arm, one in configs.items()} == {"a": 40, "b": 30}
    assert configs["b"].declared == {"data.limit_train": 40}
    assert resolve(tmp_path, text, data="scenes:clutter=2", arm=["a"], limit_train=20).data.limit_train == 20


def test_a_folder_belongs_to_one_treatment(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "folder")
    ledger.adopt(resolve(tmp_path, "[arms]\na = { variant = '{base}', recipe.epochs = 2 }"))
    ledger.adopt(resolve(tmp_path, "[arms]\na = { variant = '{base}', recipe.epochs = 2 }\nb = '{base}'"))
    with pytest.raises(UserError, match=r"treatments\.a\.recipe\.epochs is 2 there and 3 now"):
        ledger.check(resolve(tmp_path, "[arms]\na = { variant = '{base}', recipe.epochs = 3 }"))


def test_every_setting_of_a_run_has_a_key() -> None:
    keys = list_settings()
    assert {"recipe.optimizer.learning_rate", "recipe.augmentation.auto_augment", "recipe.distillation.weight"} <= {
        *keys
    }
    assert {"data.spec", "data.limit_val", "recipe.schedule.warmup", "recipe.freeze"} <= {*keys}
    assert "recipe.name" not in keys


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of learning rate x augmentation x model, run for real."""
    folder = tmp_path_factory.mktemp("crossed")
    text = """
    [factors]
    recipe.optimizer.learning_rate = [0.1, 0.05]
    recipe.augmentation.flip = [true, false]
    width = [4, 6]
    """
    study = resolve(folder, text, set=["recipe.batch_size=20"])
    session = Session(InProcess(), StopRequest(), jobs=1, threads=1)
    outcome = run_study(study, folder / "run", session, watcher=Unwatched())
    assert (outcome.finished, outcome.failed) == (16, {})
    return folder / "run"


def test_declared_differences_are_compared_and_the_effect_of_each_factor_is_shown(crossed: Path) -> None:
    report = build_report(crossed)
    (comparison,) = report.comparisons
    assert len(comparison.arms) == 8
    table = tabulate_effects(comparison)
    assert table is not None
    assert [row[:3] for row in table.rows] == [
        ("learning_rate", "0.05", "0.1"), ("flip", "off", "on"), ("width", "6", "4"),
    ]  # fmt: skip
    means = {arm.name: arm.mean.mean for arm in comparison.arms}  # type: ignore[union-attr]
    wide = [mean for name, mean in means.items() if "width=6" in name]
    narrow = [mean for name, mean in means.items() if "width=4" in name]
    expected = sum(wide) / 4 - sum(narrow) / 4
    assert list_effect_numbers(comparison)[2]["effect"] == pytest.approx(expected, abs=1e-5)
    which = tabulate_arms(comparison)
    assert which is not None and set(which.header) == {"arm", "network", "learning_rate", "flip"}
    rows = [dict(zip(which.header, row, strict=True)) for row in which.rows]
    own = {"network": "resnet20:width=6", "learning_rate": "0.05", "flip": "off"}
    assert {"arm": "learning_rate=0.05,flip=off,width=6"} | own in rows
    assert to_markdown(which) in render_markdown(report)
    command = dict(report.provenance)["command"]
    assert "--set recipe.batch_size=20" in command and "learning_rate" not in command


def test_how_an_effect_changes_with_another_factor_is_shown(crossed: Path) -> None:
    [comparison] = build_report(crossed).comparisons
    table = tabulate_interactions(comparison)
    assert table is not None and table.header[2:5] == ("effect there (points)", "n", "change (points)")
    assert [row[:2] for row in table.rows] == [
        (effect, where)
        for effect, wheres in {
            "learning_rate=0.05 against 0.1": ("flip=on", "flip=off", "width=4", "width=6"),
            "flip=off against on": ("width=4", "width=6"),
        }.items()
        for where in wheres
    ]
    means = {arm.name: arm.mean.mean for arm in comparison.arms}  # type: ignore[union-attr]

    def gap(width: int) -> float:
        return sum(
            (
                means[f"learning_rate={rate},flip=off,width={width}"]
                - means[f"learning_rate={rate},flip=on,width={width}"]
            )
            / 2
            for rate in (0.1, 0.05)
        )

    for numbers, width in zip(list_interaction_numbers(comparison)[4:], (4, 6), strict=True):
        assert numbers["there"]["effect"] == pytest.approx(gap(width), abs=1e-5)
    assert table.rows[4][4] == "reference"
    assert numbers["change"]["effect"] == pytest.approx(gap(6) - gap(4), abs=1e-5)
    notes = " ".join(list_effect_notes(comparison))
    assert "how far it is from the effect at the level that stands first" in notes
    assert "No effect is shown to change" in notes or "Shown to change" in notes


def test_the_table_of_effects_along_other_factors_has_a_name_on_the_page(crossed: Path) -> None:
    page = render_page(build_report(crossed), {})
    assert "<caption><span>Effects along other factors</span>" in page


def test_the_effects_along_other_factors_are_drawn_one_line_a_level_under_each_effect(crossed: Path) -> None:
    report = build_report(crossed)
    with house_style():
        drawn = FIGURES["interactions"].draw(report, 0)
    assert drawn is not None
    [axes] = drawn.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    lines = ["flip=on", "flip=off"], ["width=4", "width=6"], ["width=4", "width=6"]
    heads = ["learning_rate=0.05 against 0.1"] * 2 + ["flip=off against on"]
    assert labels == [text for head, below in zip(heads, lines, strict=True) for text in (head, *below)]
    dots = [float(one.get_offsets()[0][0]) for one in axes.collections]  # type: ignore[index]
    found = [one["there"]["effect"] for one in list_interaction_numbers(report.comparisons[0])]
    assert dots == pytest.approx(found, abs=1e-5)


def test_the_certificate_says_what_a_run_is_without_its_treatment(crossed: Path) -> None:
    records = [RunRecord.model_validate_json(path.read_bytes()) for path in sorted(crossed.rglob("record.json"))]
    of_seed = [record for record in records if record.seed == 0]
    assert len({record.certificate.untreated for record in of_seed if record.certificate}) == 1
    own = [record.certificate.model_copy(update={"untreated": None}) for record in of_seed if record.certificate]
    assert len(set(own)) == 4
    plain = next(record for record in of_seed if record.arm == "learning_rate=0.1,flip=on,width=4")
    assert plain.certificate is not None
    assert plain.certificate.untreated == plain.certificate.model_copy(update={"untreated": None})


def test_a_difference_that_is_not_declared_keeps_a_run_apart(crossed: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(crossed, tmp_path / "run")
    arm = "learning_rate=0.05,flip=on,width=4"
    planted = tmp_path / "run" / "cells" / arm / "seed-0"
    config = RunConfig.model_validate_json((planted / "config.json").read_bytes())
    optimizer = config.recipe.optimizer.model_copy(update={"weight_decay": 0.01})
    shutil.rmtree(planted)
    recipe = config.recipe.model_copy(update={"optimizer": optimizer})
    train_run(config.model_copy(update={"recipe": recipe}), planted, arm=arm, study="mine")
    first, second = build_report(tmp_path / "run").comparisons
    assert [(record.arm, record.seed) for record in second.records] == [(arm, 0)]
    assert "setting recipe.optimizer.weight_decay: 0.0005 and 0.01" in second.apart
    assert sum(outcome.state == "apart" for one in first.arms for outcome in one.outcomes.values()) == 1


def test_other_data_of_an_arm_are_opened_before_anything_is_written(tmp_path: Path) -> None:
    study = resolve(tmp_path, "[factors]\ndata.limit_train = [40, 9999999]")
    with pytest.raises(UserError, match=r"The arm 'limit_train=9999999': --limit-train asks for 9999999 images"):
        run_study(study, tmp_path / "run", Session(IN_PROCESS, StopRequest(), jobs=1), watcher=Unwatched())
    assert not (tmp_path / "run" / "cells").exists()


def test_arms_that_declare_other_data_are_compared(tmp_path: Path) -> None:
    text = "[factors]\ndata.limit_train = [40, 20]\ndata.image_size = [16, 24]"
    study = resolve(tmp_path, text, seeds=1)
    run_study(study, tmp_path / "run", Session(InProcess(), StopRequest(), jobs=1, threads=1), watcher=Unwatched())
    (comparison,) = build_report(tmp_path / "run").comparisons
    assert [record.num_train for record in comparison.records] == [40, 40, 20, 20]
