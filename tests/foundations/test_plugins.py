"""Packages that are installed beside vtbench: the README's own, a broken one, one that takes our names."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import vtbench.models  # noqa: F401
from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.cli.first_checks import check_data
from vtbench.cli.main import app
from vtbench.datasets import DATASETS
from vtbench.errors import UserError
from vtbench.plugins import PLUGINS
from vtbench.records import RunRecord, load_record
from vtbench.registry import Registry
from vtbench.training.recipe import RECIPES, load_recipe
from vtbench.training.user_code import identify_code
from vtbench.variants import MODELS, canonical_spelling, find_model

README = Path(__file__).parents[2] / "README.md"
Install = Callable[..., None]

BLOCK = """
from pathlib import Path

from torch import nn

from vtbench.attention.attention_block import register_attention
from vtbench.training.recipe import register_recipe
from vtbench.variants import ModelOptions


@register_attention("twice", place="gate", options=ModelOptions(), source="no paper")
class Twice(nn.Module):
    role = "channel attention"

    def __init__(self, channels):
        super().__init__()

    def forward(self, images):
        return 2 * images


def more():
    register_recipe(Path(__file__).with_name("acme_recipe.toml"))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a package with one module where Python finds it; what it registers is forgotten behind the test."""
    for registry in (MODELS, DATASETS, ATTENTION_BLOCKS, RECIPES):
        len(registry)  # Its own files are imported for good.
        for table in ("_entries", "_packages"):
            monkeypatch.setattr(registry, table, dict(getattr(registry, table)))
    for name, value in (("_is_asked", False), ("loaded", []), ("modules", {}), ("faults", [])):
        monkeypatch.setattr(PLUGINS, name, value)
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(text: str, module: str = "acme_vision", entry: str = "acme_vision") -> None:
        (tmp_path / f"{module}.py").write_text(text, encoding="utf-8")
        folder = tmp_path / f"{module}-0.1.dist-info"
        folder.mkdir()
        name = module.replace("_", "-")
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n", encoding="utf-8")
        (folder / "entry_points.txt").write_text(f"[vtbench.plugins]\nacme = {entry}\n", encoding="utf-8")
        monkeypatch.delitem(sys.modules, module, raising=False)

    return put


def read_example() -> str:
    section = README.read_text("utf-8").partition("### Packages that add to it")[2]
    return section.partition("```python\n")[2].partition("```")[0]


def test_the_package_of_the_readme_adds_a_model_and_a_data_set(install: Install, tmp_path: Path) -> None:
    install(read_example())
    words = ["train", "acme_net:width=4", "--data", "stripes:num_train=20", "--recipe", "small", "--epochs", "1"]
    words += ["--device", "cpu", "--threads", "1", "--out", str(tmp_path / "run")]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    record = load_record(tmp_path / "run" / "record.json", RunRecord)
    assert record.class_names == ("lying", "standing")
    assert record.environment.packages["acme-vision"] == "0.1"
    assert record.certificate is not None
    assert record.certificate.network is not None
    listed = CliRunner().invoke(app, ["list", "acme"])
    assert listed.output.splitlines()[-1].split()[:2] == ["acme_net", "classification"]
    counted = CliRunner().invoke(app, ["profile", "acme_net", "--format", "csv"])
    assert counted.exit_code == 0


def test_a_run_of_a_package_does_not_go_on_with_other_code(install: Install, tmp_path: Path) -> None:
    install(read_example())
    words = ["train", "acme_net:width=4", "--data", "stripes:num_train=20", "--recipe", "small", "--epochs", "1"]
    words += ["--device", "cpu", "--threads", "1", "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, words).exit_code == 0
    code = load_record(tmp_path / "run" / "record.json", RunRecord).config.code
    assert code is not None
    assert code.path == "acme_vision"
    assert CliRunner().invoke(app, words).exit_code == 0
    file = tmp_path / "acme_vision.py"
    file.write_text(file.read_text("utf-8").replace("nn.ReLU()", "nn.Tanh()"), encoding="utf-8")
    for again in (words, ["evaluate", str(tmp_path / "run")]):
        answer = CliRunner().invoke(app, again)
        assert isinstance(answer.exception, UserError)
        assert "The code of acme_vision" in str(answer.exception)


def test_a_block_becomes_a_model_and_a_file_a_recipe(install: Install, tmp_path: Path) -> None:
    install(BLOCK, entry="acme_vision:more")
    (tmp_path / "acme_recipe.toml").write_text("epochs = 7\n", encoding="utf-8")
    assert load_recipe("acme_recipe").epochs == 7
    assert canonical_spelling("twice_resnet20") == "twice_resnet20"
    assert find_model("twice_resnet20").package == "acme-vision"
    code = identify_code("twice_resnet20")[1]
    assert code is not None
    assert code.path == "acme_vision"
    assert find_model("se_resnet20").package is None


def test_no_package_is_imported_for_a_name_that_is_known(install: Install) -> None:
    install("raise RuntimeError('it was imported')")
    canonical_spelling("resnet18:width=8")
    check_data("scenes", look=True)
    load_recipe("small")
    assert "acme_vision" not in sys.modules
    assert not PLUGINS.faults


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nosuchmodule", "acme_vision gives ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("raise SystemExit('no licence')", "acme_vision gives SystemExit: no licence"),
        (read_example().replace("acme_net", "resnet18"), "the model 'resnet18' is registered already"),
    ],
)
def test_a_package_that_fails_is_named_and_harms_no_command(text: str, reason: str, install: Install) -> None:
    install(text)
    with pytest.raises(
        UserError, match=r"no model named 'resnet19'.*The plug-in acme-vision cannot be used: "
    ) as caught:
        find_model("resnet19")
    assert reason in str(caught.value)
    assert "Mend it, or pip uninstall acme-vision." in str(caught.value)
    with pytest.raises(UserError, match=r"no data set named 'scene'.*The plug-in acme-vision"):
        check_data("scene", look=True)
    listed = CliRunner().invoke(app, ["list", "resnet18"])
    assert listed.exit_code == 0
    assert "The plug-in acme-vision cannot be used" in listed.stderr
    assert find_model("resnet18").package is None


def test_our_own_take_a_name_back_from_a_package_that_came_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PLUGINS, "faults", [])
    names: Registry[int] = Registry("number")
    monkeypatch.setattr(PLUGINS, "loading", "acme")
    names.add("one", 2)
    assert names.find_package("one") == "acme"
    monkeypatch.setattr(PLUGINS, "loading", None)
    names.add("one", 1)
    assert names["one"] == 1
    assert names.find_package("one") is None
    assert "its number 'one' is named as one of vtbench" in PLUGINS.faults[0]
    with pytest.raises(ValueError, match="registered already"):
        names.add("one", 3)
