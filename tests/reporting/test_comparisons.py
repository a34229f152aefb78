"""Cells that were not treated alike never meet in one comparison, and nothing that failed or is missing disappears."""

from __future__ import annotations

import pytest
from synthetic_runs import list_runs, make_run

from vtbench.configuration import DataConfig
from vtbench.errors import UserError
from vtbench.metrics import METRICS, Metric
from vtbench.records import Certificate, CostRecord, NotMeasured, RunRecord
from vtbench.reporting.comparisons import Comparison, build_comparisons
from vtbench.reporting.notes import list_notes
from vtbench.reporting.outline import ReportOutline, complete_outline, join_outlines
from vtbench.reporting.repeating import rebuild_command
from vtbench.reporting.scatter import Point, draw_points
from vtbench.reporting.style import house_style
from vtbench.reporting.tables import list_numbers, tabulate_summary
from vtbench.reporting.treatment import find_differences
from vtbench.stats.estimates import Estimate, PairedDifference


def compare(records: list[RunRecord], *, base: str | None = None, **outline: object) -> tuple[Comparison, ...]:
    return build_comparisons(records, complete_outline(ReportOutline(title="t", **outline), records), base=base)  # type: ignore[arg-type]


def replace_certificate(record: RunRecord, **fields: str) -> RunRecord:
    assert record.certificate is not None
    return record.model_copy(update={"certificate": record.certificate.model_copy(update=fields)})


def test_runs_that_were_treated_alike_stand_in_one_comparison() -> None:
    (comparison,) = compare(list_runs())
    assert comparison.base == "convolution"
    assert [arm.name for arm in comparison.arms][:2] == ["convolution", "static"]
    difference = comparison.arms[3].difference
    assert isinstance(difference, PairedDifference)
    assert difference.estimate.mean == pytest.approx(((71.9 - 71.25) + (71.2 - 70.8) + (72.3 - 71.9)) / 3)
    assert difference.seeds == (0, 1, 2)
    assert comparison.arms[0].difference is None


@pytest.mark.parametrize(
    "field", [field for field in Certificate.model_fields if field not in ("untreated", "network")]
)
def test_a_difference_in_any_field_of_the_certificate_keeps_a_cell_apart_and_is_named(field: str) -> None:
    planted = [replace_certificate(run, **{field: "x"}) if run.arm == "dynamic" else run for run in list_runs()]
    first, second = compare(planted)
    assert "dynamic" not in [arm.name for arm in first.arms]
    assert [arm.name for arm in second.arms] == ["dynamic"]
    assert second.arms[0].difference is None
    assert field.replace("_", " ") in second.apart


def test_what_differs_is_named_with_the_setting_that_caused_it() -> None:
    records = [make_run("convolution", 0, epochs=90), make_run("dynamic", 0, epochs=10)]
    _, second = compare(records)
    assert "recipe" in second.apart
    assert "setting recipe.epochs: 90 and 10" in second.apart


def test_one_cell_of_an_arm_may_be_apart_while_the_others_are_compared() -> None:
    planted = [
        replace_certificate(run, train_data="x") if (run.arm, run.seed) == ("dynamic", 1) else run
        for run in list_runs()
    ]
    first, second = compare(planted)
    dynamic = next(arm for arm in first.arms if arm.name == "dynamic")
    assert [cell.state for cell in dynamic.outcomes.values()] == ["finished", "apart", "finished"]
    assert second.seeds == (1,)


def test_what_ran_in_another_comparison_is_not_missing_and_what_two_studies_ask_for_is_where_one_lacks_it() -> None:
    """Two studies of the same arms, of two and of three seeds, that were not treated alike."""
    arms = ("convolution", "static")
    some = [make_run(arm, seed) for arm in arms for seed in (0, 1)]
    more = [make_run(arm, seed, epochs=5, recipe="x", schedule="x") for arm in arms for seed in (0, 1, 2)]

    def frame(seeds: int) -> ReportOutline:
        return ReportOutline(title="t", base="convolution", arms=arms, seeds=tuple(range(seeds)))

    def sort(first: int, second: int) -> tuple[Comparison, ...]:
        return build_comparisons([*some, *more], join_outlines("t", [frame(first), frame(second)]))

    first, second = sort(2, 3)
    assert (first.seeds, second.seeds) == ((0, 1), (0, 1, 2))
    first, _ = sort(3, 3)
    assert first.seeds == (0, 1, 2)
    assert [arm.outcomes[2].state for arm in first.arms] == ["missing", "missing"]


def test_arms_of_several_studies_keep_the_order_of_these_and_are_compared_with_their_base() -> None:
    own = [make_run(arm, 0, study="one") for arm in ("convolution", "static")]
    others = [make_run(arm, 0, study="two", epochs=5, recipe="x", schedule="x") for arm in ("c", "a", "b")]
    outlines = [
        ReportOutline(title="one", base="convolution", arms=("static", "convolution"), seeds=(0,)),
        ReportOutline(title="two", base="b", arms=("c", "a", "b"), seeds=(0,)),
    ]
    records = sorted([*own, *others], key=lambda run: run.arm or "")
    outline = complete_outline(join_outlines("both", outlines), records)
    assert outline.arms == ("convolution", "static", "b", "c", "a")
    first, second = build_comparisons(records, outline)
    assert [arm.name for arm in first.arms] == ["convolution", "static"]
    assert ([arm.name for arm in second.arms], second.base) == (["b", "c", "a"], "b")


def test_runs_of_two_seeds_may_differ_in_order_and_augmentation_only() -> None:
    first = make_run("convolution", 0)
    assert find_differences(first, make_run("convolution", 1)) == ()
    for field in ("recipe", "schedule", "precision"):
        assert find_differences(first, replace_certificate(make_run("convolution", 1), **{field: "x"})) == (field,)
    assert find_differences(first, make_run("convolution", 1, spec="cifar10")) == ("train data", "val data")
    fewer = make_run("convolution", 1).model_copy(update={"num_val": 100})
    assert find_differences(first, fewer) == ("number of images or classes",)


def limit(record: RunRecord) -> RunRecord:
    data = record.config.data.model_copy(update={"limit_train": 5000, "limit_val": 2000})
    return record.model_copy(update={"config": record.config.model_copy(update={"data": data})})


def forget_content(record: RunRecord) -> RunRecord:
    return replace_certificate(record, train_content=None, val_content=None)


def test_of_two_seeds_the_data_are_compared_by_content_wherever_they_lay() -> None:
    first, second = limit(make_run("convolution", 0)), limit(make_run("convolution", 1))
    drawn = replace_certificate(second, train_data="other images of the same data", val_data="others, too")
    assert find_differences(first, drawn) == ()
    assert find_differences(first, replace_certificate(drawn, val_content="x")) == ("val content",)
    moved = limit(make_run("convolution", 1, spec="parquet:moved"))
    assert find_differences(first, moved) == ()
    assert find_differences(first, forget_content(moved)) == ("data",)
    assert find_differences(first, forget_content(second)) == ()


def test_of_two_seeds_without_a_limit_other_images_show_in_records_of_before_too() -> None:
    first, second = forget_content(make_run("convolution", 0)), forget_content(make_run("convolution", 1))
    assert find_differences(first, second) == ()
    assert find_differences(first, replace_certificate(second, train_data="x")) == ("train data",)


def test_two_seeds_of_unlike_data_are_not_joined_by_a_third_whose_data_are_not_known() -> None:
    runs = [limit(make_run("convolution", seed)) for seed in range(3)]
    runs = [forget_content(runs[0]), runs[1], replace_certificate(runs[2], train_content="x")]
    first, second = compare(runs)
    assert [record.seed for record in first.records] == [0, 1]
    assert [record.seed for record in second.records] == [2]
    assert second.apart == ("train content",)


def test_a_report_says_for_which_runs_it_is_not_known_what_their_data_were() -> None:
    runs = [limit(make_run("convolution", seed)) for seed in range(3)]
    assert not any("content" in note for note in list_notes(compare(runs)))
    assert not any("content" in note for note in list_notes(compare([forget_content(run) for run in runs])))
    (note,) = (note for note in list_notes(compare([forget_content(runs[0]), *runs[1:]])) if "content" in note)
    assert note.startswith("Of 1 of 3 runs (convolution, seed 0) the content of the data was not recorded")


def test_a_finished_run_without_certificate_is_comparable_with_nothing() -> None:
    bare = make_run("dynamic", 0).model_copy(update={"certificate": None})
    first, second = compare([make_run("convolution", 0), bare, make_run("static", 0)])
    assert [arm.name for arm in first.arms] == ["convolution", "static"]
    assert "has no certificate" in second.apart[0]


def test_a_failed_cell_stays_in_its_row_and_keeps_its_reason() -> None:
    records = [run for run in list_runs() if (run.arm, run.seed) != ("dynamic", 2)]
    (comparison,) = compare([*records, make_run("dynamic", 2, error="the loss became NaN")])
    dynamic = next(arm for arm in comparison.arms if arm.name == "dynamic")
    assert dynamic.outcomes[2].state == "failed"
    assert dynamic.outcomes[2].value == NotMeasured(reason="the loss became NaN")
    assert isinstance(dynamic.mean, Estimate)
    assert dynamic.mean.n == 2


def test_a_failed_cell_of_another_recipe_is_not_shown_as_a_cell_of_this_one() -> None:
    first, second = compare([make_run("convolution", 0), make_run("dynamic", 0, error="boom", epochs=90)])
    assert [arm.name for arm in first.arms] == ["convolution"]
    assert "setting recipe.epochs: 10 and 90" in second.apart


def test_arms_and_seeds_that_were_planned_and_not_run_are_holes() -> None:
    records = [make_run("convolution", 0), make_run("static", 1)]
    (comparison,) = compare(records, arms=("convolution", "static", "dynamic"), seeds=(0, 1, 2))
    states = {arm.name: [cell.state for cell in arm.outcomes.values()] for arm in comparison.arms}
    assert states["convolution"] == ["finished", "missing", "missing"]
    assert states["dynamic"] == ["missing"] * 3
    static = comparison.arms[1]
    assert static.difference == NotMeasured(reason="no seed that both arms have finished")


def test_the_base_is_the_plans_or_the_one_asked_for_or_the_first() -> None:
    assert compare(list_runs())[0].base == "convolution"
    assert compare(list_runs(), base="static")[0].arms[0].name == "static"
    assert compare(list_runs(), arms=("dynamic",))[0].base == "dynamic"
    (planned,) = compare(list_runs(), arms=("dynamic", "static"))
    assert planned.base == "dynamic"


def test_a_base_that_has_no_record_is_answered_with_the_nearest_arm() -> None:
    with pytest.raises(UserError, match="Did you mean 'dynamic'"):
        compare(list_runs(), base="dynamc")


def test_a_base_whose_runs_all_failed_leaves_no_difference_and_still_stands_first() -> None:
    (comparison,) = compare([make_run("convolution", 0, error="boom"), make_run("dynamic", 0)])
    assert comparison.base == "convolution"
    assert comparison.arms[1].difference == NotMeasured(reason="no seed that both arms have finished")


def test_runs_of_one_arm_with_different_costs_have_no_common_cost() -> None:
    changed = make_run("dynamic", 1)
    assert isinstance(changed.costs, CostRecord)
    changed = changed.model_copy(update={"costs": changed.costs.model_copy(update={"macs": 1})})
    (comparison,) = compare([make_run("dynamic", 0), changed])
    assert isinstance(comparison.arms[0].costs, NotMeasured)


def test_one_arm_name_for_two_variants_gives_two_rows_told_apart_by_the_variant() -> None:
    other = make_run("dynamic", 0, variant="vt_resnet32")
    (comparison,) = compare([make_run("dynamic", 0), other])
    assert [arm.name for arm in comparison.arms] == ["dynamic (vt_resnet20)", "dynamic (vt_resnet32)"]


def test_runs_of_two_tasks_are_kept_apart_each_with_the_words_of_its_own_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = Metric("depth_error_m", "depth error", "depth error", unit="m", digits=3, better="lower")
    monkeypatch.setitem(METRICS._entries, "depth", (error,))
    estimating = [
        make_run(arm, seed).model_copy(update={"task": "depth", "outcome": {"depth_error_m": value}})
        for arm, values in {"dynamic": (0.25, 0.27), "static": (0.125, 0.13)}.items()
        for seed, value in enumerate(values)
    ]
    outline = complete_outline(ReportOutline(title="t"), [*list_runs(), *estimating])
    first, second = build_comparisons([*list_runs(), *estimating], outline)
    assert first.metric.key == "top1_percent"
    assert second.metric == error
    assert second.apart[0] == "task: classification and depth"
    table = tabulate_summary(second)
    assert table.header[3:6] == ("depth error (m)", "n", "against static (m)")
    assert table.rows[0][3].startswith("0.128 ± 0.0")
    assert table.rows[1][5].startswith("+0.133 ± ")
    assert {"depth_error_m", "depth_error_m_half_width", "difference_m", "seed_0_depth_error_m"} <= set(
        next(list_numbers(second))
    )
    with house_style():
        drawn = draw_points(
            [
                Point("dear", "resnet20", 2000, 0.1),
                Point("bad", "resnet20", 3000, 0.3),
                Point("lean", "vit", 1000, 0.2),
            ],
            error,
            title="t",
            caption="c",
            legend=False,
        )
    assert drawn.axes[0].get_ylabel() == "depth error (m)"
    front = next(line for line in drawn.axes[0].lines if line.get_linestyle() == "--" or len(line.get_xdata()) == 2)
    assert list(front.get_ydata()) == [0.2, 0.1], "lower is better"


def test_equal_means_and_equal_differences_are_said_of_the_arms_that_have_them() -> None:
    notes = list_notes(compare([make_run(arm, seed, 10.0) for arm in ("convolution", "static") for seed in (0, 1)]))
    assert [note for note in notes if "are equal" in note] == [
        "Not judged: static: both differences are equal: no interval, their spread cannot be estimated.",
        "Note: the mean of every arm: both values are equal: no interval, their spread cannot be estimated.",
    ]


def _with_own_data(arm: str, seed: int, value: float, spec: str) -> RunRecord:
    """A run of a study that gives its arm data of its own."""
    run = make_run(arm, seed, value, variant="resnet20", spec=spec, train_content=spec, val_content=spec)
    config = run.config.model_copy(update={"declared": {"data.spec": "scenes"}})
    assert run.certificate is not None
    certificate = run.certificate.model_copy(update={"untreated": make_run(arm, seed).certificate})
    return run.model_copy(update={"config": config, "certificate": certificate})


def test_arms_of_one_name_that_were_treated_differently_are_rows_of_their_own() -> None:
    many = [_with_own_data("many", seed, 50.0 + seed, "scenes:clutter=8") for seed in range(3)]
    few = [_with_own_data("few", seed, 70.0 + seed, "scenes:clutter=0") for seed in range(3)]
    fewer = [_with_own_data("few", seed, 60.0 + seed, "scenes:clutter=2") for seed in range(5)]
    [comparison] = compare([*many, *few, *fewer], base="many")
    assert [(arm.name, sum(one.state == "finished" for one in arm.outcomes.values())) for arm in comparison.arms] == [
        ("many", 3),
        ("few (data.spec=scenes:clutter=0)", 3),
        ("few (data.spec=scenes:clutter=2)", 5),
    ]
    assert [len(runs) for runs in comparison.runs] == [3, 3, 5]
    moved = [_with_own_data("few", seed, 70.0 + seed, "scenes:clutter=0") for seed in (3, 4)]
    elsewhere = [
        run.model_copy(update={"config": run.config.model_copy(update={"data": DataConfig(spec="folder:PATH")})})
        for run in moved
    ]
    [together] = compare([*many, *few, *elsewhere], base="many")
    assert [arm.name for arm in together.arms] == ["many", "few"], "the same images, wherever they lie"


def test_a_row_lacks_no_seed_that_only_the_other_study_of_its_name_has() -> None:
    first = [_with_own_data("few", seed, 70.0 + seed, "scenes:clutter=0") for seed in range(2)]
    second = [_with_own_data("few", seed, 60.0 + seed, "scenes:clutter=2") for seed in range(4)]
    frames = [
        ReportOutline(title=title, base="few", arms=("few",), seeds=tuple(range(seeds)))
        for title, seeds in (("a", 2), ("b", 4))
    ]
    records = [*first, *second]
    [comparison] = build_comparisons(records, complete_outline(join_outlines("t", frames), records))
    assert not any(one.state == "missing" for arm in comparison.arms for one in arm.outcomes.values())


def test_arms_that_declare_the_same_must_also_have_been_treated_alike_with_it() -> None:
    """What is left without the declared is the same here, and so are its values; the recipe that they gave is not."""
    first, second = (
        replace_certificate(_with_own_data("few", seed, 70.0, "scenes:clutter=0"), recipe=recipe)
        for seed, recipe in ((0, "r"), (1, "s"))
    )
    assert find_differences(first, second) == ("recipe",)
    assert find_differences(first, replace_certificate(second, recipe="r")) == ()


def test_what_a_call_took_back_is_no_difference_of_data() -> None:
    noted = DataConfig(cleared=("limit_train",))
    assert noted == DataConfig() and hash(noted) == hash(DataConfig()) and noted != DataConfig(limit_train=3)
    plain = list_runs()
    some = [
        run.model_copy(update={"config": run.config.model_copy(update={"data": noted})}) if run.seed else run
        for run in plain
    ]
    [comparison] = compare(some)
    assert [len(runs) for runs in comparison.runs] == [3] * 5
    assert rebuild_command(some) is not None


def test_older_records_of_arms_with_data_of_their_own_are_one_row_wherever_their_images_lay() -> None:
    """They have no hash of the content of a split, but that of the images, which no limit cut."""

    def place(seed: int) -> RunRecord:
        run = _with_own_data("few", seed, 70.0 + seed, "images")
        assert run.certificate is not None
        older = run.certificate.model_copy(update={"train_content": None, "val_content": None})
        data = {"data": DataConfig(spec=f"folder:{seed % 2}")}
        return run.model_copy(update={"config": run.config.model_copy(update=data), "certificate": older})

    [comparison] = compare([place(seed) for seed in range(4)])
    assert [(arm.name, len(runs)) for arm, runs in zip(comparison.arms, comparison.runs, strict=True)] == [("few", 4)]
