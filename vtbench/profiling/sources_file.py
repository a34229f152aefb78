"""A network from a file of the user: ``FILE.py:CALLABLE``. The file is run, with the rights of whoever asks for it.

The callable, a function or a class, is given ``num_classes`` and ``image_size`` (height, width) by keyword where its
signature names them, and the options of the spelling. What identifies the file is its content and that of the modules
that it imports from its own folder, not its place.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from vtbench.errors import UserError, did_you_mean
from vtbench.files import expand_home, read_file, resolve
from vtbench.profiling.inputs import DEFAULT_SIZE

_IF_REQUIRED: Mapping[str, Any] = {"num_classes": 1000, "image_size": DEFAULT_SIZE}
"""What a callable is told that has no default of its own where nobody says anything."""
_OWN_PACKAGE = "vtbench"


@dataclass(frozen=True)
class UserFile:
    """A file that was run: its names, and the hash of it and of what it imports from its folder."""

    path: Path
    module: ModuleType
    sha256: str

    def call(self, name: str, options: Mapping[str, Any], told: Mapping[str, Any]) -> Any:
        """What the callable ``name`` gives for ``options``, and for what it asks for of that which it may be ``told``.

        None leaves it to the callable. A module is taken as it is. Raises ``UserError`` for a name or an option that
        there is not.
        """
        if not hasattr(self.module, name):
            raise UserError(f"{self.path} defines no {name!r}. {did_you_mean(name, self._list_callables())}")
        found = getattr(self.module, name)
        if isinstance(found, nn.Module):
            accepted: Mapping[str, inspect.Parameter] = {}
        elif callable(found):
            accepted = _read_signature(found)
        else:
            raise UserError(
                f"{name!r} in {self.path} is a {type(found).__name__} and cannot be called. Name a function."
            )
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
        for option in options:
            if option in told:
                raise UserError(
                    f"{self.path}:{name} has no option {option!r} to spell: it is told what the images and classes are."
                )
            if option not in accepted and not takes_any:
                raise UserError(
                    f"{self.path}:{name} takes no {option!r}. {did_you_mean(option, accepted.keys() - told.keys())}"
                )
        if isinstance(found, nn.Module):
            return found
        asked = {key: value for key, value in told.items() if key in accepted}
        for key, value in asked.items():
            if value is None and accepted[key].default is inspect.Parameter.empty:
                asked[key] = _IF_REQUIRED[key]
        return found(**options, **{key: value for key, value in asked.items() if value is not None})

    def _list_callables(self) -> list[str]:
        names = [name for name, value in vars(self.module).items() if callable(value) and not name.startswith("_")]
        return names or ["(none)"]


@contextmanager
def run_user_file(path: Path) -> Iterator[UserFile]:
    """Run the file anew; inside the block it can import what lies beside it.

    What it imports from its folder is forgotten behind the block, so that another file has its own of the same name.
    Raises ``UserError`` where there is no such file, and where it ends the program.
    """
    path = expand_home(path)
    if not path.is_file():
        raise UserError(f"There is no file {path}. Write path/to/file.py:CALLABLE.")
    source, folder, before = read_file(path), resolve(path).parent, set(sys.modules)
    module = ModuleType(f"_vtbench_user_{path.stem}_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}")
    module.__file__ = str(resolve(path))
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(folder))
    try:
        exec(compile(source, module.__file__, "exec"), vars(module))  # From what was hashed, and never from a cache.
        yield UserFile(path, module, _hash_sources(source, _list_beside(folder, before)))
    except SystemExit as error:
        raise UserError(f"{path} ends the program when it is imported ({error}). Guard its main part.") from error
    finally:
        sys.path.remove(str(folder))
        for name in _list_beside(folder, before):
            del sys.modules[name]


def hash_user_file(path: Path) -> str:
    """The hash of the file and of what it imports from its folder. Raises ``UserError`` where it cannot be run."""
    try:
        with run_user_file(path) as file:
            return file.sha256
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}. Mend the file.") from error


def _read_signature(found: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(found).parameters
    except ValueError:  # Written in another language than Python.
        return {}


def _list_beside(folder: Path, before: set[str]) -> dict[str, Path]:
    """The modules that were imported from ``folder`` since there were those of ``before``, and their files."""
    found = {}
    for name in sys.modules.keys() - before:
        top = sys.modules.get(name.partition(".")[0])
        place, file = _locate(top), _locate(sys.modules[name])
        if top is None or place is None or file is None or name.partition(".")[0] == _OWN_PACKAGE:
            continue
        home = place.parent.parent if place.name == "__init__.py" else place.parent
        if home == folder and not name.startswith("_vtbench_user_"):
            found[name] = file
    return found


def _locate(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return resolve(file) if isinstance(file, str) else None


def _hash_sources(source: bytes, beside: Mapping[str, Path]) -> str:
    digest = hashlib.sha256(source)
    for name in sorted(beside):
        digest.update(f"\0{name}\0".encode() + read_file(beside[name]))
    return digest.hexdigest()
