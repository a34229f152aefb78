"""What users import is frozen here, is found by tab completion, and does what its examples say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import vtbench

PACKAGE = Path(vtbench.__file__).parent
ROOMS = [module.name for module in pkgutil.walk_packages([str(PACKAGE)], "vtbench.") if module.ispkg]
WITH_EXAMPLES = [
    ".".join(("vtbench", *path.relative_to(PACKAGE).with_suffix("").parts))
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


OFFERED = ("profile", "report", "run_study", "train")


def test_the_package_offers_these_names_and_no_others() -> None:
    assert vtbench.__all__ == [
        "RunFailed",
        "UserError",
        "__version__",
        "create_model",
        "load_run",
        "load_runs",
        *OFFERED,
    ]


@pytest.mark.parametrize("room", ["vtbench", *ROOMS])
def test_every_name_that_a_room_offers_is_there_and_is_completed(room: str) -> None:
    module = importlib.import_module(room)
    offered = getattr(module, "__all__", [])
    assert sorted(set(offered)) == sorted(offered)
    assert set(offered) <= set(dir(module))
    assert all(hasattr(module, name) for name in offered)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize(
    "name",
    [
        *(f"vtbench.{name}" for name in ("load_run", "load_runs", *OFFERED)),
        "vtbench.profiling.profile",
        "vtbench.create_model",
        "vtbench.records.load_record",
        "vtbench.studies.resolution.resolve_study",
        "vtbench.training.train_run",
        "vtbench.variants.canonical_spelling",
        "vtbench.variants.create_model",
    ],
)
def test_what_users_call_first_has_an_example(name: str) -> None:
    module, _, function = name.rpartition(".")
    assert ">>> " in getattr(importlib.import_module(module), function).__doc__
