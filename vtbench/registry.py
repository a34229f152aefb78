"""Name -> builder. One mechanism for models, tokenizers, attention blocks, data sets and every other part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, TypeVar

from vtbench.errors import UserError, did_you_mean
from vtbench.plugins import PLUGINS

T = TypeVar("T")


class UnknownNameError(UserError):
    """A name that no registry entry bears; the message gives the nearest ones."""


class Registry(Generic[T]):
    """A dictionary that refuses duplicate names, and answers a typo with the nearest name.

    Before a name counts as unknown, files that could have it are imported, see `expect_files`, and then packages, see
    `vtbench.plugins`. ``kind`` is what the entries are called in messages, for example ``"tokenizer"``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._waiting: dict[str, str] = {}
        self._is_spread = False
        self._packages: dict[str, str] = {}
        self._followers: list[Callable[[str], None]] = []

    def add(self, name: str, entry: T) -> None:
        """Enter ``entry`` under ``name``. Raises ``ValueError`` if the name is taken; our own take theirs back."""
        if PLUGINS.loading is not None:
            self._look_for(name)
        if name in self._entries:
            if PLUGINS.loading is not None or name not in self._packages:
                raise ValueError(f"the {self.kind} {name!r} is registered already, by {self._entries[name]!r}")
            PLUGINS.report(self._packages.pop(name), f"its {self.kind} {name!r} is named as one of vtbench")
        if PLUGINS.loading is not None:
            self._packages[name] = PLUGINS.loading
        self._entries[name] = entry
        for react in self._followers:
            react(name)

    def expect_files(self, package: str, path: Iterable[str]) -> None:
        """Every module of ``package``, whose ``__path__`` is ``path``, enters something when it is imported.

        That is done when a name is asked for that is not entered yet, first where the file's name begins it, or when
        all are; these then come in natural order, which does not depend on what was asked for before.
        """
        self._is_spread = True
        self._waiting.update((module.name, f"{package}.{module.name}") for module in iter_modules(path))

    def follow(self, react: Callable[[str], None]) -> None:
        """Call ``react`` with every name that there is, and with each that is entered from now on."""
        names = list(self)
        self._followers.append(react)
        for name in names:
            react(name)

    def find_package(self, name: str) -> str | None:
        """The package that entered ``name``; None where that is vtbench."""
        return self._packages.get(name)

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a builder with its name: ``@TOKENIZERS.register("filter")``."""

        def enter(entry: T) -> T:
            self.add(name, entry)
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        self._look_for(name)
        if name not in self._entries:
            PLUGINS.load()
        if name not in self._entries:
            hint = did_you_mean(name, self)
            raise UnknownNameError(" ".join([f"There is no {self.kind} named {name!r}. {hint}", *PLUGINS.faults]))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._look_for(name)
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._look_for(None)
        return iter(sorted(self._entries, key=order_naturally) if self._is_spread else self._entries)

    def __len__(self) -> int:
        self._look_for(None)
        return len(self._entries)

    def _look_for(self, name: object) -> None:
        """Import of the files that wait those up to the one that enters ``name``; a plug-in may be what asks."""
        if not self._waiting or name in self._entries:
            return
        likely = sorted((file for file in self._waiting if str(name).startswith(file)), key=len, reverse=True)
        loading, PLUGINS.loading = PLUGINS.loading, None
        try:
            for file in (*likely, *self._waiting):
                if name not in self._entries and file in self._waiting:
                    import_module(self._waiting[file])
                    self._waiting.pop(file, None)
        finally:
            PLUGINS.loading = loading


def order_naturally(name: str) -> tuple[tuple[int, str], ...]:
    """A key that orders resnet18 before resnet101.

    >>> sorted(["resnet101", "resnet18"], key=order_naturally)
    ['resnet18', 'resnet101']
    """
    digits = "".join(c if c.isdigit() else f" {c} " for c in name).split()
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in digits)


def import_files(package: str, path: Iterable[str]) -> None:
    """Import every module of ``package``, whose ``__path__`` is ``path``, so that what they register is known."""
    for module in iter_modules(path):
        import_module(f"{package}.{module.name}")
