"""The verb ``vtbench profile``: what it prints, and that one bad model does not stop the others."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from vtbench.cli.main import app
from vtbench.errors import UserError

RUNNER = CliRunner()


def run(*arguments: str) -> Result:
    """Run the verb; a ``UserError`` that ends it is raised here as ``run()`` would print it."""
    result = RUNNER.invoke(app, ["profile", *arguments])
    if isinstance(result.exception, UserError):
        raise result.exception
    return result


def run_json(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    parsed: list[dict[str, Any]] = json.loads(result.stdout)
    return parsed


def test_a_table_fits_in_eighty_columns_and_shows_stages_and_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = run("resnet18")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "  MACs         1.81 G (1,814,073,344)" in lines
    assert any(line.split()[:1] == ["stage5"] for line in lines)
    assert "resnet18 by role" in lines
    assert "trace and closed forms agree on every MAC" in result.stdout
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in result.stdout


def test_json_is_a_list_with_costs_and_breakdowns() -> None:
    (entry,) = run_json("resnet18")
    assert (entry["model"], entry["macs"], entry["params"]) == ("resnet18", 1_814_073_344, 11_689_512)
    assert entry["input_size"] == [1, 3, 224, 224]
    for split in ("stages", "roles", "operators"):
        assert sum(part["macs"] for part in entry[split]) == entry["macs"]


def test_a_model_that_fails_prints_its_message_and_the_others_still_print() -> None:
    result = run("resnet18", "timm:nosuch", "torchvision:alexnet", "resnet20", "--input-size", "16", "--format", "csv")
    assert result.exit_code == 2
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["model"] for row in rows] == ["resnet18", "resnet20"]
    messages = result.stderr.splitlines()
    assert len(messages) == 2
    assert "timm has no model named 'nosuch'" in messages[0]
    assert messages[1].startswith("vtbench: torchvision:alexnet: the model fails on an input of 1x3x16x16")


def test_the_same_model_under_two_names_costs_the_same() -> None:
    entries = run_json("resnet18", "torchvision:resnet18", "timm:resnet18")
    assert {entry["macs"] for entry in entries} == {1_814_073_344}


def test_size_batch_channels_and_classes_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from torch import nn\ndef build():\n    return nn.Conv2d(4, 5, 1)\n", encoding="utf-8")
    (entry,) = run_json(f"{file}:build", "--input-size", "6x8", "--batch", "3", "--channels", "4")
    assert entry["input_size"] == [3, 4, 6, 8]
    assert entry["macs"] == 3 * 48 * 20
    (entry,) = run_json("resnet18", "--num-classes", "10")
    assert entry["macs"] == 1_814_073_344 - 990 * 512


def test_another_model_is_compared_part_by_part() -> None:
    result = run("resnet18", "--against", "resnet34")
    assert result.exit_code == 0
    rows = {line.strip().split("  ")[0]: line.split() for line in result.stdout.splitlines() if "x" in line}
    assert "resnet18 / resnet34" in result.stdout
    assert rows["MACs"][1:] == ["3,663.76", "1,814.07", "0.50x"], "as the audit has it: relative to the other"
    assert rows["stage: stem"][-1] == "1.00x"
    (entry,) = run_json("resnet18", "--against", "resnet34")
    parts = [part for part in entry["against"]["parts"] if part["group"] == "stage"]
    assert sum(part["other"] for part in parts) == 3_663_761_408


@pytest.mark.parametrize("format", ["markdown", "latex"])
def test_tables_for_papers_hold_the_same_numbers(format: str) -> None:
    result = run("resnet18", "resnet34", "--by", "stage", "--format", format)
    assert result.exit_code == 0
    assert "1,814.07" in result.stdout
    assert ("\\toprule" if format == "latex" else "| ---") in result.stdout
    assert result.stdout.count("stage5") == 2


@pytest.mark.parametrize("format", ["markdown", "latex"])
def test_the_tables_of_one_model_hold_what_the_terminal_shows(format: str) -> None:
    shown, printed = run("vt_resnet20").stdout, run("vt_resnet20", "--format", format).stdout
    plain = printed.replace("\\_", "_").replace("\\%", "%").replace("$", "")
    for line in filter(str.strip, shown.splitlines()[1:]):
        for cell in re.split(r"  +", line.strip(" ─")):
            assert cell in plain, cell
    assert "head" in plain and "<0.01" in plain


def test_tables_of_many_models_name_those_that_were_refused() -> None:
    result = run("resnet20", "timm:nosuch", "--jobs", "2", "--format", "markdown")
    assert result.exit_code == 2
    assert "> refused: timm:nosuch: " in result.stdout


def test_a_small_network_is_told_of_in_units_that_suit_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\ndef build():\n    return nn.Conv2d(3, 5, 1)\n")
    table = run(f"{tmp_path}/mine.py:build", "--image-size", "8", "--by", "module").stdout
    assert "MACs  " in table and "params" in table and "(M)" not in table
    assert "960" in table and "20" in table


@pytest.mark.parametrize("split", ["stage", "role", "module", "operator"])
def test_every_split_can_be_asked_for(split: str) -> None:
    result = run("resnet18", "--by", split, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["split"] for row in rows} == {split}
    counted = [int(row["macs"]) for row in rows]
    assert sum(counted) == 1_814_073_344 or counted[0] == 1_814_073_344
    assert f"resnet18 by {split}" in run("resnet18", "--by", split).stdout


def test_a_training_step_and_a_measurement_are_shown_when_asked_for() -> None:
    result = run("resnet20", "resnet32", "--backward", "--measure", "--time-limit", "0.2", "--threads", "1")
    assert result.exit_code == 0
    assert "step (M)" in result.stdout
    assert "ms/batch" in result.stdout
    assert "measured in evaluation on" in result.stdout
    (entry,) = run_json("resnet20", "--backward", "--measure", "--time-limit", "0.1")
    assert entry["training"]["backward_macs"] == 2 * 40_551_040 - 32 * 32 * 16 * 27
    assert entry["measured"]["environment"]["device"] == "cpu"


def test_tools_are_compared_when_asked_for() -> None:
    result = run("resnet20", "--compare-tools")
    assert result.exit_code == 0
    assert f"fvcore {version('fvcore')}" in result.stdout
    (entry,) = run_json("resnet20", "--compare-tools")
    by_tool = {opinion["tool"]: opinion["macs"] for opinion in entry["tools"]}
    assert by_tool["torch FlopCounterMode (CPU)"] == entry["macs"]


@pytest.mark.parametrize(
    "arguments",
    [("resnet18", "--input-size", "0"), ("resnet18", "--by", "colour"), ("resnet18", "--against", "resnet0")],
)
def test_a_mistake_that_concerns_all_models_is_one_message(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UserError):
        run(*arguments)


def test_a_registered_model_must_explain_every_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import nn

    import vtbench.profiling.closed_forms as closed_forms

    monkeypatch.delitem(closed_forms.FORMS, nn.Linear)
    result = run("resnet20")
    assert result.exit_code == 2
    assert "closed forms leave out 640 of 40,551,040 MACs: Classifier x1: 640" in result.stderr
    assert run("torchvision:resnet18", "--input-size", "32").exit_code == 0


def test_a_plain_network_is_profiled_with_nothing_loaded_that_it_does_not_need() -> None:
    """Torch's compiler and the libraries would more than double the time that the command takes; our own modules are
    for other models, other options and other verbs."""
    program = (
        "import sys\nfrom vtbench.cli.main import app\n"
        "app(['profile', 'vt_resnet101'], standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    call = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(call.stderr.split())
    libraries = {
        "torch._dynamo",
        "sympy",
        "triton",
        "torchvision",
        "timm",
        "pandas",
        "scipy",
        "matplotlib",
        "pyarrow",
        "PIL",
    }
    assert not libraries & loaded
    rooms = ("audit", "datasets", "published", "stats", "studies", "tasks", "tokens", "training")
    ours = {name.removeprefix("vtbench.") for name in loaded if name.startswith("vtbench.")}
    assert not {name for name in ours if name.startswith(rooms)}
    assert {name for name in ours if name.startswith("cli.verb_")} == {"cli.verb_profile"}
    assert {name for name in ours if name.startswith("reporting")} == {
        "reporting",
        "reporting.profile_report",
        "reporting.profile_timing",
    }
    counting = {
        "arguments", "breakdown", "building", "calls", "chance", "closed_forms", "contractions", "decisions",
        "deployment", "errors", "execution", "formulas", "formulas_rare", "free_operators", "inputs", "moves",
        "offline", "products", "profile", "reach", "shortcuts", "sources", "storage", "subject", "sums", "trace",
        "verification", "walking",
    }  # fmt: skip
    assert {name.removeprefix("profiling.") for name in ours if name.startswith("profiling.")} == counting
    assert {name for name in ours if name.startswith("models.families.")} == {
        "models.families.resnet",
        "models.families.vt_resnet",
    }
    assert {name for name in ours if name.startswith("attention.")} == {"attention.attention_block"}
    assert "layers.window_operators" not in ours
