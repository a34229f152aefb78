"""Trained weights of timm and torchvision by name, ``timm:NAME`` or ``torchvision:NAME``: fetched once, then cached.

timm fits what it can to the options of the spelling, such as position embeddings to ``img_size``. Of torchvision,
``weights=IMAGENET1K_V1`` names others than those it holds for best. Files are read without running code from them.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from vtbench.errors import UserError, did_you_mean
from vtbench.profiling.errors import summarize_exception
from vtbench.training.foreign_network import drawn_from
from vtbench.variants import ForeignOptions, find_kind, split_variant

_MEND = "Is the machine connected? A file that was fetched elsewhere can be given by its path."
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Names of before dots were refused in them, as they stand in torchvision's files."""


def names_library(place: str) -> bool:
    """Whether ``place`` is no path but a name of timm or torchvision."""
    return place.startswith(("timm:", "torchvision:"))


def load_library_weights(place: str) -> dict[str, Tensor]:
    """The trained weights that ``place`` names. Raises ``UserError`` where there are none, or they cannot be had."""
    name, given = split_variant(place)
    options = ForeignOptions.model_validate(given).read()
    load = _load_timm if find_kind(name) == "timm" else _load_torchvision
    return {key: value.detach().cpu() for key, value in load(name.partition(":")[2], options).items()}


def _load_timm(name: str, options: dict[str, Any]) -> dict[str, Tensor]:
    try:
        import timm
    except ImportError:
        raise UserError(f"'timm:{name}' needs timm, which is not installed: pip install 'vtbench[timm]'.") from None
    known = timm.list_models(pretrained=True)
    settings = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if settings is None or not settings.has_weights:
        raise UserError(f"timm has no trained weights named {name!r}. {did_you_mean(name, known)}")
    if "num_classes" in options:
        raise UserError(f"'timm:{name}' cannot set num_classes: a head of other classes starts from the seed anyhow.")
    try:
        with drawn_from(0):
            weights: dict[str, Tensor] = timm.create_model(name, pretrained=True, **options).state_dict()
    except Exception as error:  # timm and its downloads raise many kinds.
        raise UserError(f"timm cannot give the weights of {name!r}: {summarize_exception(error)}. {_MEND}") from error
    return weights


def _load_torchvision(name: str, options: dict[str, Any]) -> dict[str, Tensor]:
    from torchvision import models

    names = models.list_models()
    if name not in names:
        raise UserError(f"torchvision has no model named {name!r}. {did_you_mean(name, names)}")
    entries = models.get_model_weights(name).__members__
    wanted = options.pop("weights", "DEFAULT")
    if options or wanted not in entries:
        raise UserError(
            f"torchvision has no weights {', '.join([str(wanted), *options])} of {name!r}. "
            f"Write torchvision:{name},weights=ONE, one of {', '.join(entries) or 'none'}."
        )
    try:
        weights = entries[wanted].get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except Exception as error:  # As above.
        raise UserError(
            f"torchvision cannot give the weights of {name!r}: {summarize_exception(error)}. {_MEND}"
        ) from error
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in weights.items()}
