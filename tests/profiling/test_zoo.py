"""Many models in one command: patterns, the file of rows that goes on where it was, processes, what readers see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import vtbench.models  # noqa: F401  (fills the registry)
from vtbench.cli.main import app
from vtbench.errors import UserError
from vtbench.profiling import zoo
from vtbench.profiling.wildcards import expand_patterns
from vtbench.profiling.zoo import ZooRequest, count_row, count_zoo
from vtbench.records import load_lines
from vtbench.records.profile import Unstated, ZooRow
from vtbench.reporting.zoo_report import render_zoo, summarize_zoo
from vtbench.variants import MODELS, is_pattern


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["profile", *arguments])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def test_a_pattern_stands_for_names_of_every_source() -> None:
    import timm
    from torchvision import models

    assert expand_patterns(["timm:*"]) == [f"timm:{name}" for name in timm.list_models()]
    assert expand_patterns(["torchvision:*"]) == [f"torchvision:{name}" for name in models.list_models()]
    assert expand_patterns(["*"]) == list(MODELS)
    assert expand_patterns(["resnet?8", "torchvision:resnet[35]?", "resnet18"]) == [
        "resnet18",
        "torchvision:resnet34",
        "torchvision:resnet50",
    ]


def test_options_stay_with_every_name_that_a_pattern_stands_for() -> None:
    depths = (32, 34, 50, 56)
    assert expand_patterns(["vt_resnet[35]?:num_tokens=8"]) == [f"vt_resnet{depth}:num_tokens=8" for depth in depths]
    assert not is_pattern("vt_resnet34:num_tokens=8")


def test_a_pattern_that_fits_nothing_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"No model fits the pattern 'torchvision:resnext5\*x'.*resnext50_32x4d"):
        expand_patterns(["torchvision:resnext5*x"])


def test_the_models_of_a_file_have_no_pattern() -> None:
    with pytest.raises(UserError, match=r"Name the functions of the file"):
        expand_patterns(["mine.py:*"])


def test_rows_are_added_as_they_are_done_and_never_counted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "rows.jsonl"
    assert f"Profiles: {out} (1 row)" in run("resnet20", "--out", str(out)).stderr
    assert "(1 row, all that was asked for stood there already)" in run("resnet20", "--out", str(out)).stderr
    first = out.read_bytes()
    counted: list[str] = []

    def count(name: str, request: ZooRequest) -> ZooRow:
        counted.append(name)
        return count_row(name, request)

    monkeypatch.setattr(zoo, "count_row", count)
    assert run("resnet20", "resnet3[24]", "--out", str(out), "--format", "csv").exit_code == 0
    assert counted == ["resnet32", "resnet34"]
    assert out.read_bytes().startswith(first)
    assert [row.model for row in load_lines(out, ZooRow)] == ["resnet20", "resnet32", "resnet34"]


def test_a_line_that_was_cut_short_is_counted_again(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    run("resnet20", "resnet32", "--out", str(out))
    whole = out.read_bytes()
    out.write_bytes(whole[:-30])
    run("resnet20", "resnet32", "--out", str(out))
    rows = load_lines(out, ZooRow)
    assert [(row.model, row.macs) for row in rows] == [("resnet20", 40_551_040), ("resnet32", 68_862_592)]


@pytest.mark.parametrize(
    ("text", "message"), [("{}\n", "no file of ZooRows: line 1"), ("no JSON\n", "no file of ZooRows: line 1")]
)
def test_another_file_is_left_as_it_is(tmp_path: Path, text: str, message: str) -> None:
    out = tmp_path / "notes.jsonl"
    out.write_text(text, "utf-8")
    with pytest.raises(UserError, match=message):
        run("resnet20", "--out", str(out))
    assert out.read_text("utf-8") == text


def test_rows_of_other_options_are_not_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    run("resnet20", "--out", str(out))
    with pytest.raises(UserError, match=r"resnet20: batch is not given there and 2 now.*Name another file"):
        run("resnet20", "--out", str(out), "--batch", "2")


def test_a_refused_model_is_a_row_with_its_reason_and_exit_code_2(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    result = run("resnet20", "torchvision:alexnet", "--input-size", "16", "--out", str(out))
    assert result.exit_code == 2
    assert "refused: torchvision:alexnet: the model fails on an input of 1x3x16x16" in result.stdout
    good, bad = load_lines(out, ZooRow)
    assert (good.macs, good.refused) == (10_138_240, None)
    assert bad.macs is None
    assert bad.refused is not None
    assert "\n" not in bad.refused
    assert run("resnet20", "torchvision:alexnet", "--input-size", "16", "--out", str(out)).exit_code == 2


def test_a_model_that_breaks_the_profiler_does_not_take_the_others_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(zoo, "profile_source", fail)
    assert count_row("resnet20", ZooRequest()).refused == "the profiler itself fails: KeyError: 'surprise'"


def test_a_file_whose_name_says_another_format_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"what is written is JSON lines. Name it .*z.jsonl"):
        run("resnet20", "--out", str(tmp_path / "new" / "z.txt"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--by=stage", "--against=resnet34", "--measure", "--compare-tools"])
def test_what_needs_single_models_is_refused(option: str) -> None:
    with pytest.raises(UserError, match=rf"no place for {option.partition('=')[0]}"):
        run("resnet*", option)


def test_every_format_has_every_model() -> None:
    rows = [
        ZooRow(model="a", input_size=(1, 3, 8, 8), macs=10**7, params=5, covered_macs=9_999_999, notes=("n", "m")),
        ZooRow(model="b", refused="it is odd"),
    ]
    assert json.loads(render_zoo(rows, "json"))[1]["refused"] == "it is odd"
    assert render_zoo(rows, "csv").splitlines()[1].startswith("a,1x3x8x8,10000000,5,")
    for text_format in ("markdown", "latex"):
        assert "10.00" in render_zoo(rows, text_format)


def test_the_share_that_is_checked_is_100_only_where_it_is_whole() -> None:
    part = ZooRow(model="a", macs=10**9, covered_macs=10**9 - 1, unstated=(Unstated(kind="Odd", calls=1, macs=1),))
    whole = ZooRow(model="b", macs=10, covered_macs=10)
    assert "2 models: 2 counted, 0 refused" in summarize_zoo([part, whole])
    assert "agree on 99.9 % of all MACs, on every MAC of 1" in summarize_zoo([part, whole])
    assert "agree on 100 % of all MACs" in summarize_zoo([whole])


@pytest.mark.slow
def test_several_processes_count_the_same() -> None:
    from vtbench.cli.zoo_output import register_models

    names = ["resnet20", "vt_resnet20", "torchvision:squeezenet1_1"]
    alone = {row.model: row.macs for row in count_zoo(names, ZooRequest())}
    together = {row.model: row.macs for row in count_zoo(names, ZooRequest(), jobs=2, prepare=register_models)}
    assert together == alone
