"""What can be refused before torch is loaded: names, spellings, paths that lead nowhere, folders that another holds.

Whatever passes here is checked in full where it is used, in the same words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from vtbench.catalog import load_catalog
from vtbench.errors import UserError, did_you_mean
from vtbench.files import expand_home
from vtbench.plugins import PLUGINS
from vtbench.registry import UnknownNameError
from vtbench.variants import MODELS, Kind, find_kind, split_variant

_PLACEHOLDER = re.compile(r"\{(.*?)\}")
_PREFIXES = ("timm:", "torchvision:")
_NUMBERS: dict[str, tuple[type, str]] = {"integer": (int, "a whole number"), "number": (float, "a number")}
WITHOUT_ATTENTION = ("resnet", "resnet_small", "se_resnet", "fpn_resnet")
"""Families of convolutions and gates of channels."""
_WEIGHTS = (".safetensors", ".pt", ".pth")


def check_variants(*variants: str, look: bool = True) -> None:
    """Raise ``UserError`` for a model that is not registered, an option that it has not, and a value not in its list.

    Of others' models it is seen whether there is such a library or, with ``look``, such a file. Names with placeholders
    are left to the study. Where the models are registered already, nothing is to be gained.
    """
    if len(MODELS):
        return
    known = {entry.name: {option.name: option for option in entry.options} for entry in load_catalog()}
    for variant in variants:
        name, given = split_variant(variant)
        if _PLACEHOLDER.search(name):
            continue
        if (kind := find_kind(name)) is not None:
            _check_foreign(name, kind, look=look)
            continue
        if name.endswith(".py"):
            raise UserError(f"{name!r} names a file but no model in it. Write {name}:CALLABLE.")
        if name not in known and _find_in_plugins(variant):
            continue
        if name not in known:
            added = " One that was just added here is known after make golden." if _is_checkout() else ""
            added += " One of a package is known once that is installed."
            message = f"There is no model named {name!r}. {did_you_mean(name, known)}{added}"
            raise UnknownNameError(" ".join([message, *PLUGINS.faults]))
        for option, value in given.items():
            if option not in known[name]:
                hint = did_you_mean(option, known[name])
                raise UserError(f"The model {name!r}: unknown option {option!r}. {hint}")
            allowed = known[name][option].allowed
            if allowed is not None and value not in map(str, allowed):
                *first, last = (repr(str(word)) for word in allowed)
                expected = f"{', '.join(first)} or {last}" if first else last
                raise UserError(f"The model {name!r}: {option!r} was given {value!r}: allowed: {expected}.")
            number, words = _NUMBERS.get(known[name][option].type, (str, ""))
            if not _reads_as(value, number):
                raise UserError(f"The model {name!r}: {option!r} was given {value!r}: allowed: {words}.")


def check_attention(variant: str, *, asks_of_heads: bool) -> None:
    """Raise ``UserError`` for a registered model that is known to have nothing that ``tokens`` looks at.

    ``asks_of_heads`` is whether ``--head`` or ``--look`` was given. Of other models the network says what it has.
    """
    name = split_variant(variant)[0]
    entry = next((entry for entry in load_catalog() if entry.name == name), None)
    if entry is None:
        return
    if any(option.name == "num_tokens" for option in entry.options):
        if asks_of_heads:
            raise UserError(
                f"--head and --look are of networks without visual tokens, and {variant} has some. Leave them out."
            )
    elif entry.family in WITHOUT_ATTENTION:
        raise UserError(
            f"{variant} has no visual tokens and no attention to look at. Give a network with attention, such as "
            "vt_resnet20 or timm:vit_tiny_patch16_224."
        )


def _reads_as(text: str, kind: type) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _find_in_plugins(variant: str) -> bool:
    """Whether packages that are installed can be asked for the model; raises ``UserError`` if none of them has it."""
    PLUGINS.load()
    if not PLUGINS.loaded:
        return False
    import vtbench.models  # noqa: F401 - its families make models of others' blocks.
    from vtbench.variants import canonical_spelling

    canonical_spelling(variant)
    return True


def _check_foreign(name: str, kind: Kind, *, look: bool) -> None:
    if kind == "file":
        path = expand_home(name.rpartition(":")[0])
        if look and not path.is_file():
            raise UserError(f"There is no file {path}. Write path/to/file.py:CALLABLE.")
    elif find_spec(kind) is None:
        raise UserError(f"{name!r} needs {kind}, which is not installed: pip install 'vtbench[{kind}]'.")


def check_data(spec: str, *, look: bool) -> None:
    """Raise ``UserError`` for a data set or knob that there is not; with ``look``, for a path that leads nowhere."""
    import vtbench.datasets  # noqa: F401 - fills the registry of data sets.
    from vtbench.datasets.source import parse_dataset

    source, knobs, _ = parse_dataset(spec)
    path = getattr(knobs, "path", None)
    if look and isinstance(path, str):
        place = expand_home(path)
        if not (place.is_file() or place.is_dir()):
            source.open(knobs, None)


def check_files(what: str, paths: Iterable[Path]) -> None:
    """Raise ``UserError`` for the path of an ``--image`` or ``--mask`` that is no file."""
    for path in paths:
        if not path.exists():
            raise UserError(f"The {what} {path} cannot be read: there is no such file. Check the path.")
        if path.is_dir():
            raise UserError(f"--{what} was given the folder {path}. Give its files, such as {path}/*.png.")


def check_teacher(teacher: str | None) -> None:
    """Raise ``UserError`` for a teacher that is neither a run's folder, nor weights of a known variant, nor a name."""
    from vtbench.training.folder import find_finished

    if teacher is None or teacher == "none" or teacher.startswith(_PREFIXES):
        return
    if Path(teacher).is_dir():
        find_finished(Path(teacher))
        return
    variant, at, file = teacher.rpartition("@")
    if not at:
        raise UserError(
            f"The teacher {teacher!r} is no trained network that vtbench can find. Give the folder of a finished run, "
            "VARIANT@FILE.safetensors, timm:NAME or torchvision:NAME."
        )
    check_variants(variant)
    if not Path(file).exists():
        raise UserError(f"The weights {file} of the teacher {teacher!r} are not there.")


def check_init(places: Iterable[str | None]) -> None:
    """Raise ``UserError`` for weights to start from that lie nowhere, or in a file or folder of another kind."""
    from vtbench.training.folder import find_finished

    for place in places:
        if place is None or place.startswith(_PREFIXES):
            check_variants(*([place] if place else []))
            continue
        path = expand_home(place)
        if path.is_dir():
            find_finished(path)
        elif not (path.is_file() and path.suffix in _WEIGHTS):
            raise UserError(
                f"No weights to start from {'can be taken from' if path.exists() else 'lie at'} {place}. Give the "
                "folder of a finished run, a .safetensors, .pt or .pth file with a state dict, timm:NAME or "
                "torchvision:NAME."
            )


def _is_checkout() -> bool:
    """Whether this is the source, to which people add models, and no installed package."""
    return (Path(__file__).parents[2] / "Makefile").exists()
