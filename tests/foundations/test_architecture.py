"""The import contracts hold, and fail when broken: a copy of the package with one forbidden import is refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the package in ``folder`` with the contracts of the repository."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-P", "-c", command, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copied_package(tmp_path: Path) -> Path:
    shutil.copytree(REPOSITORY / "vtbench", tmp_path / "vtbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("records/run.py", "import torch", "Reports rebuild without torch"),
        ("stats/__init__.py", "import torch", "Reports rebuild without torch"),
        ("tokenizers/__init__.py", "import vtbench.models", "Rooms"),
        ("profiling/__init__.py", "import vtbench.models", "Rooms"),
        ("reporting/__init__.py", "import vtbench.studies", "Rooms"),
        ("registry.py", "import vtbench.cli", "Rooms"),
    ],
)
def test_a_forbidden_import_breaks_the_contract(copied_package: Path, module: str, line: str, contract: str) -> None:
    path = copied_package / "vtbench" / module
    path.write_text(path.read_text("utf-8") + f"\n{line}\n", "utf-8")
    answer = lint_imports(copied_package)
    broken = [text for text in answer.stdout.splitlines() if text.endswith("BROKEN")]
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert any(text.startswith(contract) for text in broken), answer.stdout


def test_a_room_that_the_plan_does_not_name_is_refused(copied_package: Path) -> None:
    (copied_package / "vtbench" / "utils.py").write_text("")
    assert lint_imports(copied_package).returncode != 0
