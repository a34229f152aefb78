"""The network of a run: a registered variant with weights that the seed and the names of its parts determine.

Dropout and stochastic depth are set after it was built.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn

from vtbench.configuration import Recipe, RunConfig
from vtbench.errors import UserError
from vtbench.layers.residual_branch import StochasticDepth
from vtbench.training.foreign_network import drawn_from, regularize_foreign, settle_shapes
from vtbench.training.user_code import identify_code
from vtbench.variants import create_model, find_model, split_variant


def canonical_config(config: RunConfig) -> RunConfig:
    """The configuration with its variant in canonical spelling, and with the hash of the user's file that builds it.

    Raises ``UserError`` for an unknown model or option, and for what cannot be had together.
    """
    variant, code = identify_code(config.spelling, config.code)
    if config.recipe.sync_batch_norm and config.execution.accumulate > 1:
        raise UserError(
            "The recipe asks for batch normalisation over the whole batch (sync_batch_norm), and --accumulate "
            f"{config.execution.accumulate} splits the batch. Leave --accumulate at 1, or switch sync_batch_norm off."
        )
    return config.model_copy(update={"variant": variant, "code": code})


def build_initialized_network(
    variant: str, recipe: Recipe, *, seed: int, num_classes: int, image_size: tuple[int, int]
) -> nn.Module:
    """Build ``variant`` with starting weights from ``seed`` and the dropout and stochastic depth of ``recipe``.

    Parts that two variants share under the same name and shape start from the same weights. A network that others wrote
    draws its own, see `vtbench.training.foreign_network`; one of a plug-in whose every part can be asked to is drawn as
    ours are.
    """
    spec = find_model(split_variant(variant)[0])
    if not spec.is_ours:
        with drawn_from(seed):
            model = create_model(variant, num_classes=num_classes, image_size=image_size)
            settle_shapes(model, image_size)
        if spec.package is not None and not list_undrawn(model):
            initialize_by_name(model, seed)
        regularize_foreign(model, variant, recipe)
        return model
    model = create_model(variant, num_classes=num_classes, image_size=image_size)
    initialize_by_name(model, seed)
    set_regularization(model, dropout=recipe.dropout, stochastic_depth=recipe.stochastic_depth)
    return model


def initialize_by_name(model: nn.Module, seed: int) -> None:
    """Draw all weights anew so that parts shared by two models start from the same weights for the same seed.

    Every module that has a method ``reset_parameters`` is asked to initialise itself while torch's global CPU
    generator stands at a state made from ``(seed, path of the module in the model)``: modules of equal paths and shapes
    get equal weights, whatever else the two models contain. A module is asked after its children, so a part may
    overwrite what they drew (for example set the last normalisation of a branch to zero). The global generator is left
    as it was.

    Raises ``TypeError`` for a module that owns parameters but has no ``reset_parameters``: its weights would come from
    another source. Write one when you write a module with parameters of its own.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for path, module in reversed(list(model.named_modules())):
            if hasattr(module, "reset_parameters"):
                torch.default_generator.manual_seed(_seed_of(seed, path))
                reset: Any = module.reset_parameters
                reset()
            elif next(module.parameters(recurse=False), None) is not None:
                kind = type(module).__name__
                raise TypeError(f"{path or 'the model'} is a {kind} with parameters but without reset_parameters()")


def list_undrawn(model: nn.Module) -> list[str]:
    """The parts with parameters of their own that cannot be asked to draw them."""
    return [
        path
        for path, module in model.named_modules()
        if not hasattr(module, "reset_parameters") and next(module.parameters(recurse=False), None) is not None
    ]


def set_regularization(model: nn.Module, *, dropout: float = 0.0, stochastic_depth: float = 0.0) -> None:
    """Set the rates of every ``nn.Dropout`` and every `StochasticDepth` in ``model``.

    ``dropout`` is the probability of dropping a feature. ``stochastic_depth`` is the probability of dropping the
    *last* residual branch; branch l of n gets ``stochastic_depth * l / n`` (Huang et al. 2016, arXiv 1603.09382,
    equation 4). Branches count in the order in which the model registers them, which is the order of execution; a
    residual block, the token transformer and the projector of a visual transformer each hold their own.
    Raises ``ValueError`` for a rate outside [0, 1).
    """
    for name, rate in (("dropout", dropout), ("stochastic_depth", stochastic_depth)):
        if not 0 <= rate < 1:
            raise ValueError(f"{name} is the probability of dropping, in [0, 1); it was given {rate}")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    branches = [module for module in model.modules() if isinstance(module, StochasticDepth)]
    for index, branch in enumerate(branches, start=1):
        branch.p = stochastic_depth * index / len(branches)


def _seed_of(seed: int, path: str) -> int:
    digest = hashlib.blake2b(f"{seed}:{path}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
