"""Many models by one pattern: ``timm:*``, ``torchvision:resnet*`` or, of the registered ones, ``vt_*:num_tokens=8``."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from vtbench.errors import UserError, did_you_mean
from vtbench.plugins import PLUGINS
from vtbench.variants import LIBRARIES, MODELS, is_pattern


def expand_patterns(texts: Iterable[str]) -> list[str]:
    """The spellings that ``texts`` stand for, each once, in their order; a text without a wildcard is taken as it is.

    Registered models must have been registered, by importing ``vtbench.models``. Raises ``UserError`` where a pattern
    fits no model, or asks for the models of a file.
    """
    found: dict[str, None] = {}
    for text in texts:
        found.update(dict.fromkeys(_expand(text.strip()) if is_pattern(text) else [text]))
    return list(found)


def _expand(text: str) -> list[str]:
    head, colon, tail = text.partition(":")
    if ".py:" in text:
        raise UserError(
            f"{text!r} is a pattern for the models of a file, and only names of timm, torchvision and registered "
            "models can be asked for so. Name the functions of the file."
        )
    if colon and head in LIBRARIES:
        names, pattern, before, after = list_library(head), tail, f"{head}:", ""
    else:
        PLUGINS.load()
        names, pattern, before, after = list(MODELS), head, "", f":{tail}" if colon else ""
    matching = [f"{before}{name}{after}" for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not matching:
        raise UserError(f"No model fits the pattern {text!r}. {did_you_mean(pattern.strip('*?'), names)}")
    return matching


def list_library(library: str) -> Sequence[str]:
    """The names of all models of timm or torchvision. Raises ``UserError`` where that is not installed."""
    try:
        if library == "timm":
            import timm

            return [str(name) for name in timm.list_models()]
        from torchvision import models

        return [str(name) for name in models.list_models()]
    except ImportError:
        raise UserError(f"'{library}:' needs {library}, which is not installed: pip install {library}.") from None
