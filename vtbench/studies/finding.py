"""Where study files lie: in the checkout's ``ablations/``, in the installed package, or under a path of the user's."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from vtbench.errors import UserError, did_you_mean
from vtbench.studies.study import Study, read_study


def list_studies() -> dict[str, Path]:
    """The studies that come with vtbench: name -> file, sorted by name. Independent of the current directory."""
    package = Path(str(importlib.resources.files("vtbench")))
    for folder in (package / "ablations", package.parent / "ablations"):
        found = {path.stem: path for path in sorted(folder.glob("*.toml"))}
        if found:
            return found
    return {}


def find_study(name_or_path: str) -> tuple[str, Study]:
    """The name and content of a study given by its name or by the path of its file.

    Raises ``UserError`` when there is neither, naming the nearest study, and when the file is not a study.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.parent != Path():
        return path.stem, read_study(path)
    known = list_studies()
    if name_or_path not in known:
        raise UserError(
            f"There is no study named {name_or_path!r}. {did_you_mean(name_or_path, known)} "
            "A study of your own is given by its path, for example ./mine.toml."
        )
    return name_or_path, read_study(known[name_or_path])
