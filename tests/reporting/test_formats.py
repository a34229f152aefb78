"""Tables say what the numbers are, in every format, and never hide a hole."""

from __future__ import annotations

import csv
import io
import json

from synthetic_runs import list_runs, make_run

from vtbench.configuration import CodeConfig, DataConfig, DistillationConfig, ExecutionConfig
from vtbench.records import NotMeasured, RunRecord
from vtbench.reporting.answer import answer_question
from vtbench.reporting.comparisons import build_comparisons
from vtbench.reporting.failures import tell_failures
from vtbench.reporting.notes import list_notes
from vtbench.reporting.outline import ReportOutline, complete_outline
from vtbench.reporting.rendering import render_report
from vtbench.reporting.repeating import rebuild_command, repeat_command
from vtbench.reporting.report import Report, describe_provenance
from vtbench.reporting.runs import LeftOut
from vtbench.reporting.tables import format_estimate, tabulate_seeds, tabulate_summary
from vtbench.reporting.web.report_page import render_page
from vtbench.stats.estimates import Estimate


def report_on(records: list[RunRecord], **outline: object) -> Report:
    full = complete_outline(ReportOutline(title="components", **outline), records)  # type: ignore[arg-type]
    comparisons = build_comparisons(records, full)
    provenance = tuple(describe_provenance(records, full))
    return Report(full, comparisons, (LeftOut("cells/x", "begun but not finished"),), provenance)


def test_the_summary_gives_costs_mean_interval_and_paired_difference() -> None:
    table = tabulate_summary(report_on(list_runs()).comparisons[0])
    row = next(row for row in table.rows if row[0] == "dynamic")
    # Mean 71.8, s = 0.55678; t(2; 0.975) = 4.30265; differences 0.65, 0.40, 0.40 with s = 0.14434.
    # Four intervals hold together at 98.73 % each: t(2; 0.99363) = 8.77.
    assert row == ("dynamic", "0.332", "33.91", "71.8 ± 1.4", "3", "+0.48 ± 0.36", "± 0.73")
    assert table.header[5:] == ("against convolution (points)", "± all 4")
    assert table.rows[0][5:] == ("reference", "–")


def test_a_correlation_is_shown_from_five_seeds_on_and_one_difference_needs_no_correction() -> None:
    base, arm = (70.0, 71.0, 70.5, 69.5, 70.2), (71.0, 71.8, 71.6, 70.4, 71.4)
    runs = [
        make_run(name, seed, value)
        for name, values in (("convolution", base), ("dynamic", arm))
        for seed, value in enumerate(values)
    ]
    table = tabulate_summary(report_on(runs, base="convolution").comparisons[0])
    assert table.header[-2:] == ("against convolution (points)", "r")
    assert table.rows[1][-1] == "0.96"
    few = [run for run in runs if run.seed < 4]
    assert tabulate_summary(report_on(few, base="convolution").comparisons[0]).header[-1] != "r"


def test_a_single_seed_says_n_is_1_instead_of_an_interval() -> None:
    report = report_on([run for run in list_runs() if run.seed == 0])
    row = tabulate_summary(report.comparisons[0]).rows[1]
    assert row[3] == "69.90 (n = 1)"
    assert row[5] == "-1.35 (n = 1)"
    assert any("n = 1: no interval" in note for note in list_notes(report.comparisons))
    assert not any("±" in note for note in list_notes(report.comparisons))


def test_failed_and_missing_cells_stand_in_the_table_and_in_the_notes() -> None:
    records = [run for run in list_runs() if (run.arm, run.seed) not in (("dynamic", 1), ("static", 2))]
    report = report_on(
        [*records, make_run("dynamic", 1, error="Traceback (most recent call last):\n\nValueError: NaN")]
    )
    rows = {row[0]: row[1:] for row in tabulate_seeds(report.comparisons[0]).rows}
    assert rows["dynamic"] == ("71.90", "failed", "72.30")
    assert rows["static"] == ("69.90", "69.40", "–")
    summary = {row[0]: row for row in tabulate_summary(report.comparisons[0]).rows}
    assert summary["static"][4] == "2 of 3"
    notes = list_notes(report.comparisons)
    assert list(tell_failures(report)) == ["Failed: dynamic, seed 1: ValueError: NaN"]
    assert "Not run yet (1): static, seed 2." in notes


def test_a_difference_over_fewer_seeds_than_the_arm_has_names_its_n() -> None:
    records = [run for run in list_runs() if (run.arm, run.seed) != ("convolution", 2)]
    row = next(row for row in tabulate_summary(report_on(records).comparisons[0]).rows if row[0] == "dynamic")
    assert row[5].endswith("(n = 2)")


def test_the_notes_tell_clear_differences_from_open_ones() -> None:
    runs = [run for run in list_runs() if run.seed < 2]
    notes = list_notes(report_on(runs).comparisons)
    together = "The interval that holds for all 4 differences"
    assert f"{together} excludes zero for: static." in notes
    assert any(note.startswith(f"{together} includes zero for: static-position, dynamic, dynamic") for note in notes)
    assert any(note.startswith("Taken alone, the interval of static-position would exclude zero") for note in notes)
    assert any(note.startswith("Note: n = 2: an interval from two seeds is so wide") for note in notes)


def test_the_notes_say_what_other_numbers_of_seeds_would_find() -> None:
    notes = list_notes(report_on(list_runs()).comparisons)
    [power] = [note for note in notes if "3 seeds find" in note]
    assert "6 seeds find" in power and "one of 1.00 points takes 3 seeds" in power
    assert not any("seeds find" in note for note in list_notes(report_on(list_runs()[:2]).comparisons))


def test_csv_has_raw_numbers_and_shows_what_is_missing() -> None:
    records = [run for run in list_runs() if (run.arm, run.seed) != ("static", 2)]
    rows = list(csv.DictReader(io.StringIO(render_report(report_on(records), "csv"))))
    static = next(row for row in rows if row["arm"] == "static")
    assert static["macs"] == "33120000"
    assert static["params"] == "301450"
    assert static["seed_2_top1_percent"] == "missing"
    assert static["n"] == "2"
    assert static["correlation"] == ""
    assert rows[0]["top1_percent"] == "71.316667"


def test_json_is_strict_and_holds_the_notes() -> None:
    plain = json.loads(render_report(report_on(list_runs()), "json"))
    assert plain["comparisons"][0]["arms"][3]["difference_n"] == 3
    assert plain["left_out"] == [{"path": "cells/x", "reason": "begun but not finished"}]
    assert plain["notes"]


def test_markdown_names_what_was_kept_apart_and_why() -> None:
    planted = [make_run("dynamic", 0, augmentation="x"), make_run("convolution", 0)]
    text = render_report(report_on(planted, base="convolution"), "markdown")
    assert "## Kept apart: comparison 2" in text
    assert "What differs: augmentation." in text
    assert "- `cells/x`: begun but not finished" in text


def test_what_rounds_to_zero_has_no_minus() -> None:
    metric = make_run().metric
    assert format_estimate(Estimate(-0.001, 3, 0.5), metric, sign="+") == "+0.00 ± 0.50"
    assert format_estimate(Estimate(-0.4, 3, 9.96), metric) == "0 ± 10"
    assert format_estimate(Estimate(-0.4, 3, 0.0), metric) == "-0.40 ± 0.00"
    assert format_estimate(Estimate(-0.001, 1, NotMeasured(reason="n = 1")), metric) == "0.00 (n = 1)"


def test_the_provenance_names_data_recipe_seeds_machine_versions_commit_and_command() -> None:
    facts = dict(describe_provenance(list_runs(), ReportOutline(title="t")))
    plain = "scenes, 32 x 32 px: 5,000 training and 2,000 validation images, 10 classes"
    assert facts["data"] == plain
    for limits, drawn in (
        ({"limit_train": 5000}, "training"),
        ({"limit_train": 5000, "limit_val": 2000}, "training and validation"),
    ):
        data = DataConfig(spec="scenes", **limits)
        of_seeds = [make_run(seed=seed, train_data=f"{seed}", val_data=f"{seed}") for seed in (0, 1)]
        limited = [one.model_copy(update={"config": one.config.model_copy(update={"data": data})}) for one in of_seeds]
        found = dict(describe_provenance(limited, ReportOutline(title="t")))["data"]
        assert found == f"{plain}; each seed draws its {drawn} images anew from the split"
        whole = [make_run(seed=seed).model_copy(update={"config": limited[0].config}) for seed in (0, 1)]
        assert dict(describe_provenance(whole, ReportOutline(title="t")))["data"] == plain  # As many as there are.
        unlimited = dict(describe_provenance([*limited, make_run("static")], ReportOutline(title="t")))["data"]
        assert unlimited == f"{found}; {plain}"  # Nothing is drawn of what has no limit.
        of_arms = [one.model_copy(update={"arm": f"arm {one.seed}"}) for one in limited]
        assert dict(describe_provenance(of_arms, ReportOutline(title="t")))["data"] == plain
        other = limited[1].config.data.model_copy(update={"limit_train": 4999})
        alone = limited[1].model_copy(update={"config": limited[1].config.model_copy(update={"data": other})})
        told = dict(describe_provenance([limited[0], alone], ReportOutline(title="t")))["data"]
        assert "training images anew" not in told and "training and validation images anew" not in told
    assert facts["recipe"].startswith("small: 10 epochs, batch 128, sgd")
    assert facts["seeds"] == "0, 1, 2"
    assert "Example CPU" in facts["machine"]
    assert "torch 2.9.0" in facts["versions"]
    assert facts["commit"] == "0123456789ab"
    assert facts["command"] == (
        "vtbench ablate components --data scenes --recipe small --epochs 10 --seeds 3 --device cpu --jobs 2 --threads 2"
    )


def test_uncommitted_changes_and_a_second_machine_are_named() -> None:
    other = make_run("dynamic", 0)
    other = other.model_copy(
        update={"environment": other.environment.model_copy(update={"dirty": True, "device_name": "Other CPU"})}
    )
    facts = dict(describe_provenance([make_run("convolution", 0), other], ReportOutline(title="t")))
    assert "with uncommitted changes" in facts["commit"]
    assert facts["machine"].count(";") == 1


def test_unlike_conditions_of_one_seed_are_named_and_those_of_two_seeds_are_not() -> None:
    elsewhere = make_run("dynamic", 0).environment.model_copy(update={"device_name": "Other CPU", "threads": 1})
    runs = list_runs()
    assert not any("unlike conditions" in note for note in list_notes(report_on(runs).comparisons))
    one_arm = [run.model_copy(update={"environment": elsewhere}) if run.arm == "dynamic" else run for run in runs]
    [note] = [note for note in list_notes(report_on(one_arm).comparisons) if "unlike conditions" in note]
    assert "Other CPU, 1 thread, torch 2.9.0" in note
    assert "Example CPU" in note
    failed = make_run("dynamic", 0, error="out of memory").model_copy(update={"environment": elsewhere})
    one_failed = [failed if (run.arm, run.seed) == ("dynamic", 0) else run for run in runs]
    assert not any("unlike conditions" in note for note in list_notes(report_on(one_failed).comparisons))
    one_seed = [run.model_copy(update={"environment": elsewhere}) if run.seed == 1 else run for run in runs]
    assert not any("unlike conditions" in note for note in list_notes(report_on(one_seed).comparisons))


def test_arms_of_several_kernels_are_named_and_so_are_runs_that_went_on_with_others() -> None:
    def list_kernel_notes(**kernels: tuple[str | None, ...]) -> list[str]:
        runs = [run.model_copy(update={"kernels": kernels.get(f"{run.arm}{run.seed}", ("a",))}) for run in list_runs()]
        return [note for note in list_notes(report_on(runs).comparisons) if "kernels" in note]

    assert list_kernel_notes() == []
    assert list_kernel_notes(**{f"dynamic{seed}": ("b",) for seed in range(3)}) == []
    [note] = list_kernel_notes(dynamic1=("b",))
    assert note.startswith("Of dynamic not all steps were done with the same compiled kernels")
    [unlike, unsure] = list_kernel_notes(dynamic1=("a", "b"), static0=(None,))
    assert unlike.startswith("Of dynamic not all")
    assert "(2): static, seed 0; dynamic, seed 1." in unsure


def test_arms_without_an_interval_of_their_difference_are_named_with_the_reason() -> None:
    runs = [run for run in list_runs() if run.arm in ("convolution", "dynamic")]
    runs += [make_run("static", 1, 70.0), make_run("static-position", 5, 70.0)]
    runs += [make_run("dynamic-position", 0, error="out of memory")]
    report = report_on(runs, base="convolution", arms=("convolution", "planned"))
    said = [note for note in list_notes(report.comparisons) if note.startswith("Not judged: ")]
    assert said == [
        "Not judged: static: it shares one finished seed with convolution (seed 1), and one difference says nothing "
        "about the spread.",
        "Not judged: static-position: no seed is finished by both it and convolution.",
        "Not judged: dynamic-position, planned: no run has finished.",
    ]
    assert answer_question(report.comparisons[0])[-3:] == said
    page = render_page(report, {})
    assert said[0] in page
    failed = [make_run("convolution", 0, error="no"), *(run for run in runs if run.arm == "dynamic")]
    notes = list_notes(report_on(failed, base="convolution").comparisons)
    assert "Not judged: dynamic: convolution, which differences are taken to: no run has finished." in notes


def test_the_command_asks_for_the_device_the_threads_and_the_folder_that_the_study_had() -> None:
    one = make_run("convolution", 0)
    wide = one.environment.model_copy(update={"threads": 4, "num_cores": 64})
    runs = [one.model_copy(update={"environment": wide})]
    for outline, ending in (
        ({}, "--device cpu --jobs 16 --threads 64"),
        ({"jobs": 3, "place": "runs/components"}, "--device cpu --jobs 3 --threads 12"),
        ({"jobs": 3, "place": "runs/other"}, "--device cpu --jobs 3 --threads 12 --out runs/other"),
        ({"jobs": 999}, "--device cpu --jobs 256 --threads 1024"),
    ):
        command = repeat_command(runs, ReportOutline(title="components", **outline))  # type: ignore[arg-type]
        assert command is not None
        assert command.endswith(f" --seeds 1 {ending}")
    gpus = wide.model_copy(update={"device": "cuda:1", "devices": 2})
    on_gpus = repeat_command([one.model_copy(update={"environment": gpus})])
    assert on_gpus is not None
    assert on_gpus.endswith(" --seeds 1 --device cuda --devices 2")
    alone = one.model_copy(update={"study": None, "arm": None, "environment": wide})
    assert str(repeat_command([alone])).endswith(" --seed 0 --device cpu --threads 4")
    assert str(repeat_command([*runs, make_run("static", 0)])).endswith(" --seeds 1")


def test_a_single_run_is_repeated_by_vtbench_train() -> None:
    assert rebuild_command([make_run(None, 2, study=None)], ReportOutline(title="t")) == (
        "vtbench train resnet20 --data scenes --recipe small --epochs 10 --seed 2"
    )


def test_runs_of_several_settings_have_no_single_command() -> None:
    assert rebuild_command([make_run("a", 0), make_run("b", 0, epochs=90)], ReportOutline(title="t")) is None


def test_the_command_of_a_users_file_says_where_it_lies_and_that_it_may_be_uncounted() -> None:
    run = make_run(None, 2, study=None)
    code = CodeConfig(path="/home/me/code/nets.py", sha256="0" * 64)
    update = {"variant": "nets.py:wide,depth=3", "code": code, "execution": ExecutionConfig(uncounted=True)}
    own = run.model_copy(update={"variant": "nets.py:wide,depth=3", "config": run.config.model_copy(update=update)})
    command = rebuild_command([own], ReportOutline(title="t"))
    assert command is not None
    assert command.startswith("vtbench train /home/me/code/nets.py:wide,depth=3 --data ")
    assert " --uncounted " in command


def test_the_command_repeats_whatever_shaped_the_runs_and_leaves_defaults_out() -> None:
    run = make_run("convolution", 0)
    config = run.config.model_copy(
        update={
            "data": DataConfig(spec="scenes", image_size=64, limit_train=500),
            "execution": ExecutionConfig(precision="bfloat16", accumulate=2, channels_last=False, compile=True),
            "recipe": run.config.recipe.model_copy(
                update={"distillation": DistillationConfig(teacher="timm:resnet50")}
            ),
        }
    )
    assert rebuild_command([run.model_copy(update={"config": config})], ReportOutline(title="t")) == (
        "vtbench ablate components --data scenes --recipe small --epochs 10 --teacher timm:resnet50 --limit-train 500 "
        "--image-size 64 --precision bfloat16 --accumulate 2 --no-channels-last --compile --seeds 1"
    )
    other = make_run("static", 0)
    assert rebuild_command([run.model_copy(update={"config": config}), other], ReportOutline(title="t")) is None


def test_a_study_is_repeated_with_the_base_that_it_was_given() -> None:
    command = rebuild_command(list_runs(), ReportOutline(title="t", study_base="vt_resnet18:width=8"))
    assert command is not None
    assert command.startswith("vtbench ablate components --base vt_resnet18:width=8 --data scenes")
