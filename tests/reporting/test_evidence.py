"""What committed records say about the paper's claims is worked out from the runs, whichever way it points."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest
from synthetic_runs import ACCURACY, list_runs, make_run, write_study

from vtbench.configuration import DataConfig
from vtbench.records import RunRecord
from vtbench.reporting.archive import archive_runs, list_archives
from vtbench.reporting.committed import render_readme
from vtbench.reporting.content import list_tuned
from vtbench.reporting.contrasts import CLAIMS, Contrast, find_contrasts, sort_arms
from vtbench.reporting.evidence import StudyEvidence, find_evidence, list_sentences, tabulate_evidence
from vtbench.reporting.report import build_report
from vtbench.stats.estimates import Estimate, estimate_mean
from vtbench.stats.simultaneous import correct_intervals


def find(folder: Path, accuracy: Mapping[str, Sequence[float]] = ACCURACY) -> StudyEvidence:
    return find_evidence(write_study(folder, list_runs(accuracy)))


def test_each_claim_is_a_contrast_of_all_pairs_that_differ_in_it_alone(tmp_path: Path) -> None:
    convolution, static, located, dynamic, both = (ACCURACY[arm] for arm in ACCURACY)
    expected = [
        [static[i] - convolution[i] for i in range(3)],
        [(dynamic[i] - static[i] + both[i] - located[i]) / 2 for i in range(3)],
        [(located[i] - static[i] + both[i] - dynamic[i]) / 2 for i in range(3)],
    ]
    found = find(tmp_path)
    assert [contrast.claim for contrast in found.contrasts] == list(CLAIMS)
    joint = correct_intervals([estimate_mean(values) for values in expected])
    for contrast, effect in zip(found.contrasts, joint, strict=True):
        assert contrast.effect.interval == pytest.approx(effect.interval)
        assert contrast.effect.level == pytest.approx(0.95 ** (1 / 3))
    table = tabulate_evidence([found])
    assert table.rows[1][3:5] == ("dynamic, dynamic-position", "static, static-position")
    assert [row[-1] for row in table.rows] == ["loses", "gains", "not told from 0"]


def test_the_intervals_are_those_that_the_reports_of_the_studies_have() -> None:
    shown = list[Estimate]()
    for folder in list_archives(Path(__file__).parents[2] / "reports"):
        report = build_report(folder)
        own = {name_arms(one): one.effect for one in find_contrasts(report.comparisons[0], tuned=list_tuned(report))}
        both = [(one.effect, own[name_arms(one)]) for one in find_evidence(folder).contrasts if name_arms(one) in own]
        assert all(here == there for here, there in both), folder
        shown += [there for _, there in both]
    assert len({effect.level for effect in shown}) > 1, "studies with more contrasts than the claims are among them"


def name_arms(contrast: Contrast) -> frozenset[tuple[str, str]]:
    return frozenset((new.name, old.name) for new, old in contrast.pairs)


def test_the_order_of_the_effects_is_shown_where_their_intervals_lie_apart(tmp_path: Path) -> None:
    means = {"convolution": 50, "static": 60, "static-position": 60.1, "dynamic": 65, "dynamic-position": 65.1}
    noise = {"convolution": (0, 0.1, 0.2), "static": (0.1, 0, 0.1), "dynamic": (0, 0, 0.1)}
    runs = {arm: [mean + part for part in noise.get(arm, (0, 0, 0))] for arm, mean in means.items()}
    said = " ".join(list_sentences([find(tmp_path / "ordered", runs), find(tmp_path / "other")]))
    assert "is shown by ordered of 2 studies with all three" in said
    assert "of 2 studies 1 shows a gain and 1 a loss; 0 cannot tell" in said
    assert "5,000 training images, 10 epochs, 0.35 M parameters and 3 seeds" in said
    assert "by none of 1 study" in " ".join(list_sentences([find(tmp_path / "again")]))


def test_seeds_and_arms_that_are_missing_are_left_out_and_never_guessed(tmp_path: Path) -> None:
    runs = {**ACCURACY, "static": ACCURACY["static"][:2], "dynamic": ()}
    found = {contrast.claim: contrast for contrast in find(tmp_path, runs).contrasts}
    assert [found[claim].effect.n for claim in CLAIMS] == [2, 3, 2]
    assert [len(found[claim].pairs) for claim in CLAIMS] == [1, 1, 1]


def list_sorted(
    folder: Path, runs: Sequence[RunRecord], *, tuned: Collection[str] = ()
) -> list[tuple[str | None, list[str]]]:
    """Of each treatment the twin and the arms with tokens."""
    comparison = build_report(write_study(folder, runs, seeds=None)).comparisons[0]
    return [
        (alike.twin and alike.twin.name, sorted(arm.name for arm in alike.places.values()))
        for alike in sort_arms(comparison, tuned=tuned)
    ]


def test_arms_that_differ_in_more_than_the_claim_do_not_speak_to_it(tmp_path: Path) -> None:
    others = {
        "zeroed": "vt_resnet20:tokenizer=static,projector=zeroed",
        "wide": "resnet20:width=32",
        "other": "se_resnet20",
        "foreign": "timm:resnet18d",
    }
    extra = [make_run(arm, seed, 60.0 + seed, variant=variant) for arm, variant in others.items() for seed in range(2)]
    assert list_sorted(tmp_path / "a", [*extra, *list_runs()]) == [("convolution", sorted(ACCURACY)[1:])]
    alone = [run for run in list_runs() if run.arm != "convolution"]
    assert list_sorted(tmp_path / "b", [*extra, *alone]) == [(None, sorted(ACCURACY)[1:])]
    assert list_sorted(tmp_path / "c", extra[2:]) == []


def test_settings_of_their_own_keep_arms_apart_unless_each_was_tuned(tmp_path: Path) -> None:
    runs = []
    for arm, rate in (("convolution", 0.1), ("static", 0.1), ("dynamic", 0.3)):
        for seed in range(2):
            run = make_run(arm, seed, 60.0 + seed)
            recipe = run.config.recipe.model_copy(
                update={"optimizer": run.config.recipe.optimizer.model_copy(update={"learning_rate": rate})}
            )
            declared = {"recipe.optimizer.learning_rate": 0.1}
            config = run.config.model_copy(update={"recipe": recipe, "declared": declared})
            plain = run.certificate
            assert plain is not None
            certificate = plain.model_copy(update={"recipe": f"{rate:064}".replace(".", "0"), "untreated": plain})
            runs.append(run.model_copy(update={"config": config, "certificate": certificate}))
    assert list_sorted(tmp_path / "a", runs) == [(None, ["dynamic"]), ("convolution", ["static"])]
    assert list_sorted(tmp_path / "b", runs, tuned=["recipe.optimizer.learning_rate"]) == [
        ("convolution", ["dynamic", "static"])
    ]


def test_of_crossed_factors_every_pair_of_arms_speaks_to_a_claim_and_none_is_chosen(tmp_path: Path) -> None:
    gaps = {"a": 10.0, "b": 1.0, "c": 1.0, "d": -2.0, "e": 5.0}

    def declare(run: RunRecord, spec: str) -> RunRecord:
        own = run.config.model_copy(
            update={"data": DataConfig(spec=f"scenes:{spec}"), "declared": {"data.spec": "scenes"}}
        )
        return run.model_copy(update={"config": own})

    runs = [
        declare(make_run(f"model={model},spec={spec}", seed, 60.0 + seed + gap * (model == "t"), variant=variant), spec)
        for spec, gap in gaps.items()
        for model, variant in (("c", "resnet20"), ("t", "vt_resnet20:tokenizer=static"))
        for seed in range(3)
    ]
    write_study(tmp_path / "crossed", runs, seeds=None)
    evidence = find_evidence(tmp_path / "crossed")
    [contrast] = evidence.contrasts
    assert contrast.effect.mean == pytest.approx(3.0) and len(contrast.pairs) == 5
    assert tabulate_evidence([evidence]).rows[0][3:5] == ("model=t (5 arms)", "model=c (5 arms)")


def test_of_crossed_factors_it_is_said_which_effects_the_intervals_leave_out() -> None:
    reports = Path(__file__).parents[2] / "reports"
    said, alone = (" ".join(list_sentences([find_evidence(reports / name)])) for name in ("motivations", "components"))
    assert "Of motivations, where factors are crossed, the effects of the other factors are not among these" in said
    assert "crossed" not in alone


def test_the_readme_shows_the_evidence_of_all_archives_or_says_that_there_is_none(tmp_path: Path) -> None:
    block = "<!-- generated: evidence -->\n<!-- end -->\n"
    assert "No report has been committed yet" in render_readme(block, tmp_path)
    archive_runs([write_study(tmp_path / "runs", list_runs())], tmp_path / "reports" / "components")
    assert "| components | scenes, 5,000 images, 10 epochs | static" in render_readme(block, tmp_path)
