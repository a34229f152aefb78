import importlib
import sys
from pathlib import Path

import pytest

from vtbench.registry import Registry, UnknownNameError


def test_a_registered_name_is_found() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.add("square", 4)
    assert shapes["square"] == 4
    assert list(shapes) == ["square"]
    assert "square" in shapes


def test_a_duplicate_name_raises() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.add("square", 4)
    with pytest.raises(ValueError, match="'square' is registered already"):
        shapes.register("square")(5)
    assert shapes["square"] == 4


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.add("square", 4)
    shapes.add("triangle", 3)
    with pytest.raises(UnknownNameError, match=r"There is no shape named 'sqare'. Did you mean 'square'\?"):
        shapes["sqare"]


@pytest.fixture
def spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    """A registry whose entries are in three files of a package of its own."""
    package = tmp_path / f"shapes_of_{tmp_path.name}"
    package.mkdir()
    (package / "__init__.py").write_text("from vtbench.registry import Registry\nSHAPES = Registry('shape')\n")
    for file, names in {"square": ("square10", "square9"), "round": ("circle",), "square_round": ("arch",)}.items():
        (package / f"{file}.py").write_text(
            f"from {package.name} import SHAPES\nfor name in {names}: SHAPES.add(name, {file!r})\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    shapes: Registry[str] = importlib.import_module(package.name).SHAPES
    shapes.expect_files(package.name, [str(package)])
    return shapes


def test_of_entries_in_files_only_the_file_that_a_name_begins_with_is_imported(spread: Registry[str]) -> None:
    assert spread["square9"] == "square"
    imported = [name for name in sys.modules if name.startswith("shapes_of_test_of_entries")]
    assert [name.partition(".")[2] for name in imported] == ["", "square"]


def test_an_entry_of_a_file_of_another_name_is_found_too(spread: Registry[str]) -> None:
    assert spread["arch"] == "square_round"
    assert "circle" in spread


def test_entries_of_files_come_in_natural_order_whatever_was_asked_for_first(spread: Registry[str]) -> None:
    assert spread["square10"] == "square"
    assert list(spread) == ["arch", "circle", "square9", "square10"]
    assert len(spread) == 4


def test_where_no_name_is_near_they_are_listed_in_one_order_whatever_was_asked_for_first(spread: Registry[str]) -> None:
    assert spread["square10"] == "square"
    with pytest.raises(UnknownNameError, match="Allowed: arch, circle, square9, square10"):
        spread["??"]


def test_a_typo_is_answered_with_the_nearest_name_of_all_files(spread: Registry[str]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'circle'"):
        spread["circl"]
