"""The user's file, or the package, that builds the network of a run: known by its content, wherever it lies."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

from vtbench.configuration import CodeConfig, RunConfig
from vtbench.errors import UserError
from vtbench.files import expand_home, read_file
from vtbench.plugins import PLUGINS
from vtbench.profiling.sources_file import hash_user_file
from vtbench.records import RunRecord, load_record
from vtbench.run_folder import RECORD
from vtbench.variants import canonical_spelling, find_kind, find_model, leave_folder_out, split_variant


def identify_code(spelling: str, known: CodeConfig | None = None) -> tuple[str, CodeConfig | None]:
    """The canonical variant of ``spelling``, without the folder of a user's file, and that file or a plug-in's package.

    None where neither builds the network. A file that is ``known`` already is not run. Raises ``UserError`` for an
    unknown model or option, and for a file that cannot be run.
    """
    canonical = canonical_spelling(spelling)
    name, _ = split_variant(canonical)
    if find_kind(name) != "file":
        plugin = find_model(name).package
        if plugin is None:
            return canonical, None
        package = PLUGINS.modules[plugin]
        return canonical, known or CodeConfig(path=package, sha256=_hash_package(package))
    path = expand_home(name.rpartition(":")[0]).absolute()
    code = known or CodeConfig(path=str(path), sha256=hash_user_file(path))
    return leave_folder_out(canonical), code


def recall_code(config: RunConfig, folder: Path) -> RunConfig:
    """The configuration with the file that the finished run in ``folder`` was built from, if it is there no more."""
    name, _ = split_variant(config.variant)
    if config.code is not None or find_kind(name) != "file" or not (folder / RECORD).exists():
        return config
    place = name.rpartition(":")[0]
    before = load_record(folder / RECORD, RunRecord)
    if expand_home(place).is_file() or before.status != "finished" or before.config.code is None:
        return config
    return config.model_copy(update={"variant": leave_folder_out(config.variant), "code": before.config.code})


def check_code(code: CodeConfig | None) -> None:
    """Raise ``UserError`` unless the file or package is what it was when the run, or the study, was begun."""
    if code is None:
        return
    is_file = code.path.endswith(".py")
    found = hash_user_file(Path(code.path)) if is_file else _hash_package(code.path)
    if found != code.sha256:
        raise UserError(code.describe_change(found))


def _hash_package(name: str) -> str:
    """The hash of the module of that name, or of all modules of the package, which are installed."""
    module = importlib.import_module(name)
    file = Path(str(module.__file__))
    folder, digest = file.parent, hashlib.sha256()
    for place in sorted(folder.glob("**/*.py" if hasattr(module, "__path__") else file.name)):
        digest.update(f"\0{place.relative_to(folder).as_posix()}\0".encode() + read_file(place))
    return digest.hexdigest()
