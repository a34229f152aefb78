"""Name -> builder. One mechanism for models, tokenizers, attention blocks, data sets and every other part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

from vtbench.errors import UserError, did_you_mean

T = TypeVar("T")


class UnknownNameError(UserError):
    """A name that no registry entry bears; the message gives the nearest ones."""


class Registry(Generic[T]):
    """A dictionary that refuses duplicate names and answers a typo with the nearest name.

    ``kind`` is what the entries are called in messages, for example ``"tokenizer"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> None:
        """Enter ``entry`` under ``name``. Raises ``ValueError`` if the name is taken."""
        if name in self._entries:
            raise ValueError(f"the {self.kind} {name!r} is registered already, by {self._entries[name]!r}")
        self._entries[name] = entry

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a builder with its name: ``@TOKENIZERS.register("filter")``."""

        def enter(entry: T) -> T:
            self.add(name, entry)
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            message = f"There is no {self.kind} named {name!r}. {did_you_mean(name, self._entries)}"
            raise UnknownNameError(message) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def import_files(package: str, path: Iterable[str]) -> None:
    """Import every module of ``package``, whose ``__path__`` is ``path``, so that what they register is known."""
    for module in iter_modules(path):
        import_module(f"{package}.{module.name}")
