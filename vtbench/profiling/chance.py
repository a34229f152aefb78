"""Random numbers that are not torch's: Python's and NumPy's own, and those of generators that a model holds.

No operator tells of them. A generator is found where a module has it as an attribute or where the file of a module's
class has it as a global; one that hides in a list or in a closure is not.
"""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

PYTHON_CHANCE, NUMPY_CHANCE = "Python's random numbers", "NumPy's random numbers"


def seed_outside(seed: int) -> None:
    """Set the shared generators of Python and, if it is loaded, of NumPy."""
    for generator in _list_shared():
        _seed(generator, seed)


@contextmanager
def drawn_outside(seed: int, modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let every generator draw from ``seed`` within the block, and go on afterwards where it was."""
    generators = _list_generators(modules)
    before = [(generator, _read(generator)) for generator in generators]
    try:
        for generator in generators:
            _seed(generator, seed)
        yield
    finally:
        for generator, state in before:
            _write(generator, state)


@contextmanager
def chance_noted(note: Callable[[str], None], modules: Iterable[nn.Module]) -> Iterator[None]:
    """Note by whose random numbers, other than torch's, the block was guided."""
    before = [(generator, pickle.dumps(_read(generator))) for generator in _list_generators(modules)]
    yield
    for name in sorted({_name(generator) for generator, state in before if pickle.dumps(_read(generator)) != state}):
        note(name)


def _list_shared() -> list[Any]:
    numpy = sys.modules.get("numpy")
    functions: list[Any] = [random.getstate] if numpy is None else [random.getstate, numpy.random.get_state]
    return [function.__self__ for function in functions]


def _list_generators(modules: Iterable[nn.Module]) -> list[Any]:
    """The shared ones, then every other one once."""
    numpy = sys.modules.get("numpy")
    kinds = {random.Random} if numpy is None else {random.Random, numpy.random.Generator, numpy.random.RandomState}
    found = {id(shared): shared for shared in _list_shared()}
    files = set()
    for module in modules:
        files.add(type(module).__module__)
        for held in module.__dict__.values():
            if type(held) in kinds:
                found[id(held)] = held
    for file in files:
        if not file.startswith("torch.") and file in sys.modules:
            found.update((id(held), held) for held in list(vars(sys.modules[file]).values()) if type(held) in kinds)
    return list(found.values())


def _name(generator: Any) -> str:
    return PYTHON_CHANCE if isinstance(generator, random.Random) else NUMPY_CHANCE


def _read(generator: Any) -> Any:
    if hasattr(generator, "bit_generator"):
        return generator.bit_generator.state
    return generator.getstate() if hasattr(generator, "getstate") else generator.get_state()


def _write(generator: Any, state: Any) -> None:
    if hasattr(generator, "bit_generator"):
        generator.bit_generator.state = state
    elif hasattr(generator, "setstate"):
        generator.setstate(state)
    else:
        generator.set_state(state)


def _seed(generator: Any, seed: int) -> None:
    if hasattr(generator, "bit_generator"):
        generator.bit_generator.state = type(generator.bit_generator)(seed).state
    else:
        generator.seed(seed)
