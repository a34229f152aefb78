"""Archive other runs over an archive, in processes that die at every file operation, and see what is left.

Called as a program, because a process with torch's threads is not to be forked, with a folder to work in and
``tests/foundations`` in PYTHONPATH. Prints the number of deaths.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from dying_at_file_operations import die_everywhere
from synthetic_runs import list_runs, make_run, write_study

from vtbench.reporting import rendering
from vtbench.reporting.archive import archive_runs
from vtbench.reporting.report import build_report

work = Path(sys.argv[1])
target = work / "archive"
rendering.save_figure = lambda _, folder, name, **__: _draw_nothing(folder / f"{name}.svg")  # Drawing is slow.
old = write_study(work / "old", list_runs())
new = write_study(work / "new", [make_run("dynamic", 0, 50.0), make_run("static", 0, 60.0)], seeds=None)


def _draw_nothing(path: Path) -> tuple[Path, ...]:
    path.write_text("<svg/>")
    return (path,)


def _read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _check() -> None:
    if target.exists() and any(path for path in target.iterdir() if not path.name.startswith(".")):
        build_report(target)
    found = {name: data for name, data in _read(target).items() if not name.startswith(".staged-")}
    assert found in allowed, sorted(found)


def _archive() -> None:
    archive_runs([new], target)


def _prepare() -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(kept, target)


kept = archive_runs([old], work / "kept").folder
(kept / "notes.md").write_text("one's own")
before, after = _read(kept), {**_read(archive_runs([new], work / "fresh").folder), "notes.md": b"one's own"}
allowed = [before, after]
deaths = die_everywhere(_prepare, _archive, _check)
assert _read(target) == after
print(deaths)
