import csv
import io
import json
import re
import subprocess
import sys

import pytest

from vtbench.catalog import load_catalog
from vtbench.cli.main import run
from vtbench.cli.verb_list import _spell_default


def list_models(monkeypatch, capsys, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["vtbench", "list", *arguments])
    with pytest.raises(SystemExit) as ending:
        run()
    assert not ending.value.code, capsys.readouterr().err
    return capsys.readouterr().out


def test_the_table_shows_task_parameters_macs_setting_and_options(monkeypatch, capsys):
    lines = list_models(monkeypatch, capsys).splitlines()
    assert lines[0].split("  ")[0] == "model"
    row = next(line for line in lines if line.startswith("vt_resnet34 "))
    assert row.split()[1:7] == ["classification", "21.88", "3,299.01", "224", "px,", "1000"]
    assert row.endswith(
        "tokenizer position num_tokens token_dim form filters maps branches encoding projector relations values carry"
    )


def test_a_piped_table_has_one_line_a_model_and_no_escapes(monkeypatch, capsys):
    text = list_models(monkeypatch, capsys)
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2 + len(json.loads(list_models(monkeypatch, capsys, "--format", "json")))
    assert all(line == line.rstrip() for line in text.splitlines())


def test_a_table_on_a_terminal_of_80_columns_fits(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", list_models(monkeypatch, capsys)).splitlines()
    assert max(map(len, lines)) <= 80


def test_json_is_a_list_of_objects_with_exact_integers(monkeypatch, capsys):
    entries = {entry["name"]: entry for entry in json.loads(list_models(monkeypatch, capsys, "--format", "json"))}
    assert entries["resnet18"]["params"] == 11689512
    assert entries["resnet18"]["macs"] == 1814073344
    assert entries["vt_resnet18"]["macs"] == 1578950656
    assert entries["vt_resnet18"]["twin"] == "resnet18"


def test_csv_and_markdown_hold_the_same_models(monkeypatch, capsys):
    rows = list(csv.DictReader(io.StringIO(list_models(monkeypatch, capsys, "vt_resnet", "--format", "csv"))))
    names = [row["name"] for row in rows]
    assert {"vt_resnet18", "vt_resnet20", "vt_resnet101"} <= set(names)
    assert rows[names.index("vt_resnet18")]["macs"] == "1578950656"
    markdown = list_models(monkeypatch, capsys, "vt_resnet", "--format", "markdown").splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in markdown[2:]] == names


def test_options_are_explained_with_allowed_values_and_defaults(monkeypatch, capsys):
    text = list_models(monkeypatch, capsys, "vt_resnet18", "--options")
    assert "projector=on|off|zeroed  (default on)" in text
    assert "num_tokens=N  (default 16)" in text
    assert "token_dim=N  (default 0: 16 times the width (8 times with three stages))" in text


def test_a_default_of_nothing_says_what_it_stands_for():
    options = {option for entry in load_catalog() for option in entry.options if option.default == 0}
    assert {option.name for option in options} == {"token_dim", "pyramid_channels", "head_channels"}
    assert all(_spell_default(option).startswith("0: ") for option in options)


def test_the_name_of_a_model_shows_that_model_and_a_part_of_it_all_that_have_it(monkeypatch, capsys):
    def name(*words: str) -> list[str]:
        return [entry["name"] for entry in json.loads(list_models(monkeypatch, capsys, *words, "--json"))]

    assert name("resnet20") == ["resnet20"]
    assert {"resnet20", "vt_resnet20", "se_resnet20"} <= set(name("*resnet20")) == set(name("esnet20"))


def test_models_of_libraries_are_listed_by_pattern_part_and_name_without_costs(monkeypatch, capsys):
    import timm

    def read(*words: str) -> list[dict]:
        return json.loads(list_models(monkeypatch, capsys, *words, "--json"))

    wild = read("timm:resnet1*")
    assert [entry["name"] for entry in wild] == [f"timm:{name}" for name in timm.list_models("resnet1*")]
    names = [entry["name"] for entry in read("timm:resnet18", "vt_resnet20", "torchvision:vit_b_", "timm:resnet18")]
    assert names == ["vt_resnet20", "timm:resnet18", "torchvision:vit_b_16", "torchvision:vit_b_32"]
    (one,) = read("torchvision:lraspp*")
    assert (one["task"], one["image_size"], one["macs"], one["num_classes"]) == ("segmentation", [520, 520], None, None)
    monkeypatch.setattr(sys, "argv", ["vtbench", "list", "timm:resnet10t"])
    with pytest.raises(SystemExit):
        run()
    said = capsys.readouterr()
    assert said.out.splitlines()[-1].split() == ["timm:resnet10t", "classification", "–", "–", "176", "px,", "1000"]
    assert "vtbench profile" in said.err
    (row,) = csv.DictReader(io.StringIO(list_models(monkeypatch, capsys, "timm:resnet10t", "--format", "csv")))
    assert (row["params"], row["height"]) == ("", "176")


@pytest.mark.parametrize(
    ("pattern", "missing", "said"),
    [
        ("timm:resnext5*q", None, "No model of timm fits the pattern 'timm:resnext5*q'. Did you mean 'timm:resn"),
        ("timm:resnet43", None, "No model of timm has 'resnet43' in its name. Did you mean 'timm:resnet"),
        ("timm", None, "Those of the library are listed by 'vtbench list timm:TEXT'."),
        ("timm:*", "timm", "'timm:' needs timm, which is not installed: pip install timm."),
        ("torchvision:*", "torchvision", "'torchvision:' needs torchvision, which is not installed"),
    ],
)
def test_a_library_that_is_missing_or_has_no_such_model_is_said(monkeypatch, capsys, pattern, missing, said):
    if missing is not None:
        monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(sys, "argv", ["vtbench", "list", pattern])
    with pytest.raises(SystemExit) as ending:
        run()
    assert ending.value.code == 2
    assert said in capsys.readouterr().err


def test_a_pipe_is_as_wide_as_columns_say(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    lines = list_models(monkeypatch, capsys, "vt_resnet20", "--options").splitlines()
    assert max(map(len, lines)) <= 60
    assert any(line.startswith("num_tokens=N") for line in lines)


def test_a_pattern_that_matches_nothing_is_answered_with_the_nearest(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["vtbench", "list", "vt_resnet43"])
    with pytest.raises(SystemExit) as ending:
        run()
    assert ending.value.code == 2
    assert "Did you mean 'vt_resnet" in capsys.readouterr().err


def test_the_verb_loads_nothing_that_is_slow_to_load():
    script = (
        "import sys; sys.argv = ['vtbench', 'list']\n"
        "from vtbench.cli.main import app\n"
        "app(standalone_mode=False)\n"
        "loaded = {'torch', 'numpy', 'scipy', 'pandas', 'matplotlib', 'vtbench.models'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
