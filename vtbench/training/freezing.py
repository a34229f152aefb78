"""Parameters that are not trained, named by patterns."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from vtbench.errors import UserError, did_you_mean, format_names


def freeze_parameters(model: nn.Module, patterns: Sequence[str]) -> None:
    """Leave the parameters whose names match one of ``patterns`` (``*`` and ``?``) as they are.

    What lies below neck and head of a residual network is also called ``trunk.NAME``. Neither gradients nor weight
    decay reach a frozen parameter. A batch normalisation without a trained parameter stays in evaluation: it
    normalises by the statistics that it started with, and keeps them. Dropout and stochastic depth go on.
    Raises ``UserError`` for a pattern that matches nothing, and when nothing is left to train.
    """
    if not patterns:
        return
    names = {name: (name, *_name_in_trunk(model, name)) for name, _ in model.named_parameters()}
    for pattern in patterns:
        if not any(fnmatchcase(called, pattern) for both in names.values() for called in both):
            known = {called for both in names.values() for called in both}
            parents = {f"{called[:place]}.*" for called in known for place in _find_dots(called)}
            raise UserError(
                f"No parameter matches the pattern {pattern!r} of what is frozen. "
                f"{did_you_mean(pattern, [*sorted(parents), *sorted(known)])}"
            )
    frozen = [name for name, both in names.items() if any(fnmatchcase(one, p) for one in both for p in patterns)]
    if len(frozen) == len(names):
        raise UserError(f"The patterns {format_names(patterns)} freeze every parameter. Leave something to train.")
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)


def find_frozen_norms(model: nn.Module) -> list[nn.Module]:
    """The batch normalisations that have parameters, none of which is trained."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return [
        norm
        for norm in norms
        if (own := list(norm.parameters(recurse=False))) and not any(parameter.requires_grad for parameter in own)
    ]


def _name_in_trunk(model: nn.Module, name: str) -> tuple[str, ...]:
    stage = getattr(model, "stage_names", {}).get(name.partition(".")[0], "head")
    return () if stage in ("neck", "head") else (f"trunk.{name}",)


def _find_dots(name: str) -> list[int]:
    return [place for place, letter in enumerate(name) if letter == "."]
