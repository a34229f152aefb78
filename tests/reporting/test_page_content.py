"""The page says what its numbers are of: settings that act, sizes that were used, marks of figures, certificates."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from synthetic_runs import list_runs, make_run, make_segmentation_run
from test_formats import report_on

from vtbench.configuration import OptimizerConfig, Recipe, ScheduleConfig
from vtbench.records import Certificate, RunRecord
from vtbench.reporting.active_settings import is_active
from vtbench.reporting.arm_settings import tabulate_arms, tabulate_options, tabulate_settings
from vtbench.reporting.described_data import describe_source
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.legends import explain_classes, explain_curves, explain_effects, explain_tokens
from vtbench.reporting.rendering import render_report
from vtbench.reporting.report import describe_provenance
from vtbench.reporting.web.arms import list_arm_details
from vtbench.reporting.web.certificate_table import _WHAT, tabulate_certificates
from vtbench.reporting.web.report_page import render_page
from vtbench.settings import list_settings


def set_recipe(run: RunRecord, **changes: Any) -> RunRecord:
    recipe = run.config.recipe.model_copy(update=changes)
    return run.model_copy(update={"config": run.config.model_copy(update={"recipe": recipe})})


def list_shown(run: RunRecord) -> dict[str, str]:
    return dict(tabulate_settings(report_on([run]).comparisons[0]).rows)


def test_settings_without_an_effect_are_left_out() -> None:
    plain = list_shown(make_run())
    assert "recipe.optimizer.squared_decay" not in plain and "recipe.schedule.power" not in plain
    assert "recipe.schedule.milestones" in plain and "recipe.window" not in plain
    assert "data.held_out_seed" not in plain and "recipe.distillation.weight" not in plain
    other = list_shown(
        set_recipe(
            make_run(), optimizer=OptimizerConfig(name="adamw"), schedule=ScheduleConfig(name="polynomial", warmup=0.1)
        )
    )
    assert "recipe.optimizer.squared_decay" in other and "recipe.optimizer.nesterov" not in other
    assert "recipe.schedule.power" in other and "recipe.schedule.warmup_start" in other
    assert "recipe.schedule.milestones" not in other


def test_every_setting_acts_under_some_optimiser_and_schedule() -> None:
    on = {"recipe.distillation.teacher": "resnet20", "recipe.window": (8, 8), "data.held_out": 0.1}
    on |= {"recipe.schedule.warmup": 0.1, "recipe.augmentation.rand_augment": 2}
    acting = {
        key
        for optimizer in get_args(OptimizerConfig.model_fields["name"].annotation)
        for schedule in get_args(ScheduleConfig.model_fields["name"].annotation)
        for key in list_settings()
        if is_active(key, {**on, "recipe.optimizer.name": optimizer, "recipe.schedule.name": schedule}, "segmentation")
    }
    assert acting == set(list_settings())
    assert Recipe(name="x").distillation is None


def test_a_size_that_was_left_open_is_the_one_that_was_used() -> None:
    assert list_shown(make_run())["data.image_size"] == "32 x 32, the data set's own"
    assert "scenes, 32 x 32 px: 5,000 training" in dict(report_on(list_runs()).provenance)["data"]


def test_a_data_set_of_vtbench_says_what_it_is_and_one_in_files_does_not() -> None:
    assert describe_source("scenes:clutter=8").startswith("Scenes: find the two shapes that count.")
    assert dict(report_on([make_run()]).provenance)["the data set"] == describe_source("scenes")
    for spec in ("parquet:PATH/cifar10", "folder:PATH,classes=x", "mine.py:build", "../scenes"):
        assert describe_source(spec) == ""


def test_options_in_which_arms_differ_have_a_column_even_where_names_leave_the_default_out() -> None:
    table = tabulate_arms(report_on(list_runs(), base="convolution").comparisons[0])
    assert table is not None
    assert table.header == ("arm", "network", "tokenizer", "position")
    assert table.rows[3] == ("dynamic", "vt_resnet20", "dynamic", "off")
    assert table.rows[0][2:] == ("–", "–")
    said = [make_run(f"w{width}", 0, variant=f"resnet20:width={width}") for width in (4, 8)]
    spelt = tabulate_arms(report_on(said).comparisons[0])
    assert spelt is not None and spelt.header == ("arm", "network")


def test_an_option_that_implies_others_shows_what_they_stand_at_and_what_options_are_is_said() -> None:
    runs = [make_run(form, 0, variant=f"vt_resnet20:position=on,form={form}") for form in ("ours", "paper")]
    runs.append(make_run("maps", 0, variant="vt_resnet20:position=on,maps=peaked"))
    comparison = report_on(runs).comparisons[0]
    table, options = tabulate_arms(comparison), tabulate_options(comparison)
    assert table is not None and options is not None
    shown = {row[0]: dict(zip(table.header[2:], row[2:], strict=True)) for row in table.rows}
    assert shown["paper"] == {
        "form": "paper", "filters": "whole", "maps": "peaked", "branches": "full", "encoding": "plain",
        "values": "linear", "carry": "off",
    }  # fmt: skip
    assert shown["maps"] == {**shown["ours"], "maps": "peaked"}
    assert [row[0] for row in options.rows] == list(shown["paper"])
    assert dict(options.rows)["maps"].startswith("attention over the map starts nearly uniform; peaked:")
    families = [
        make_run(name, 0, variant=f"{name}:reduction={by}") for name, by in (("se_resnet20", 2), ("a2_resnet20", 4))
    ]
    assert tabulate_options(report_on(families).comparisons[0]) is None  # A reduction of one is not that of the other.
    widths = [make_run(name, 0, variant=f"{name}:width={by}") for name, by in (("resnet20", 32), ("mine.py:build", 8))]
    assert tabulate_options(report_on(widths).comparisons[0]) is None  # Nor is what a user's network calls width.


def test_what_differs_between_runs_is_named_with_the_runs() -> None:
    def move(run: RunRecord, commit: str) -> RunRecord:
        return run.model_copy(update={"environment": run.environment.model_copy(update={"commit": commit})})

    runs = [move(run, "b" * 40 if run.seed == 2 else "a" * 40) for run in list_runs()]
    facts = dict(report_on(runs).provenance)
    assert facts["commit"] == f"{'a' * 12} (10 runs: seeds 0, 1); {'b' * 12} (5 runs: seed 2)"
    assert "runs:" not in facts["machine"] + facts["versions"]
    one = [move(run, "b" * 40 if run.arm == "static" else "a" * 40) for run in list_runs()]
    assert dict(report_on(one).provenance)["commit"].endswith(f"{'b' * 12} (3 runs: static, seeds 0, 1, 2)")
    parted = [move(run, "b" * 40 if run.seed == 2 and run.arm != "static" else "a" * 40) for run in list_runs()]
    assert f"{'a' * 12} (11 runs of convolution, static," in dict(report_on(parted).provenance)["commit"]


@pytest.mark.parametrize(("num_arms", "num_seeds", "told"), [(5, 3, True), (2, 3, False), (5, 1, False)])
def test_a_card_tells_an_interval_of_one_arm_from_that_of_all_where_there_are_both(
    num_arms: int, num_seeds: int, told: bool
) -> None:
    arms = list(dict.fromkeys(run.arm for run in list_runs()))[:num_arms]
    runs = [run for run in list_runs() if run.arm in arms and run.seed < num_seeds]
    report = report_on(runs, base="convolution")
    first, *others = list_arm_details(report, report.comparisons[0])
    assert "taken alone" not in first.headline
    assert {"taken alone" in one.headline for one in others} == {told}


def test_threads_are_said_to_be_those_of_a_run_and_in_the_command_those_of_all_cells() -> None:
    facts = dict(report_on(list_runs()).provenance)
    assert "1 thread a run, 2 cores" in facts["machine"]
    assert facts["threads in the command"].startswith("--threads are those of all cells that run at once")
    alone = report_on([make_run(study=None)])
    assert "threads in the command" not in dict(describe_provenance([make_run(study=None)], alone.outline))


def test_every_figure_says_on_the_page_and_in_the_markdown_what_its_marks_are() -> None:
    assert [name for name in FIGURES if FIGURES[name].explain is None] == []
    report = report_on(list_runs(), base="convolution")
    page = render_page(report, {})
    explain = FIGURES["accuracy_macs"].explain
    assert explain is not None
    costs = explain(report, 0)
    for legend in (costs, explain_effects(report, 0)):
        assert legend in page
    assert "thin line: the one that holds for all 4 together" in explain_effects(report, 0)
    text = render_report(report, "markdown")
    assert costs not in text  # Without figures there is nothing to explain.


def test_a_legend_names_no_marks_that_are_not_drawn() -> None:
    single = report_on([run for run in list_runs() if run.seed == 0 and run.arm in ("convolution", "static")])
    explain = FIGURES["accuracy_macs"].explain
    assert explain is not None and explain(single, 0).startswith("Dot: the one seed. Dashed line")
    of_one_point = report_on([run for run in list_runs() if run.seed == 0 and run.arm == "convolution"])
    assert explain(of_one_point, 0) == "Dot: the one seed."
    assert "Small dots" not in explain_effects(single, 0) and "line" not in explain_effects(single, 0)
    assert explain_curves(single, 0) == "Line: the one seed."


@pytest.mark.parametrize(("num_seeds", "bars"), [(1, False), (3, True)])
def test_legends_of_tokens_and_classes_name_bars_only_where_there_are_intervals(num_seeds: int, bars: bool) -> None:
    tokens = [
        make_run(f"{number}", seed, 60.0 + seed + number % 7, variant=f"vt_resnet20:num_tokens={number}")
        for number in (4, 8)
        for seed in range(num_seeds)
    ]
    classes = [
        make_segmentation_run(arm, seed, [[8 + seed * place, 2], [0, 10]])
        for place, arm in enumerate(("FPN", "VT-FPN"))
        for seed in range(num_seeds)
    ]
    by_tokens, by_class = explain_tokens(report_on(tokens), 0), explain_classes(report_on(classes), 0)
    assert ("Bar" in by_tokens, "Bar" in by_class) == (bars, bars)
    assert ("one seed" in by_tokens, "one seed" in by_class) == (not bars, not bars)


def test_certificates_say_what_each_is_of() -> None:
    assert set(_WHAT) == set(Certificate.model_fields) - {"untreated"}
    table = tabulate_certificates(list_runs())
    assert table.header[1:3] == ("of what", "do the runs agree")
    assert table.rows[0][:3] == ("sample order", "which image came when, in every epoch", "the same for all of a seed")


@pytest.mark.parametrize("text", ["What it cannot say:", "15 runs finished, 0 failed, 0 missing"])
def test_the_page_has_limits_and_counts_in_its_answer(text: str) -> None:
    assert text in render_page(report_on(list_runs(), base="convolution"), {})
