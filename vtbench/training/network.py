"""The network of a run: a registered variant with weights that the seed and the names of its parts determine."""

from __future__ import annotations

from torch import nn

from vtbench.configuration import Recipe, RunConfig
from vtbench.errors import UserError
from vtbench.training.initialization import initialize_by_name, set_regularization
from vtbench.variants import canonical_spelling, create_model


def canonical_config(config: RunConfig) -> RunConfig:
    """The configuration with its variant in canonical spelling.

    Raises ``UserError`` for an unknown model or option, and for what cannot be had together.
    """
    variant = canonical_spelling(config.variant)
    if config.recipe.sync_batch_norm and config.execution.accumulate > 1:
        raise UserError(
            "The recipe asks for batch normalisation over the whole batch (sync_batch_norm), and --accumulate "
            f"{config.execution.accumulate} splits the batch. Leave --accumulate at 1, or switch sync_batch_norm off."
        )
    return config.model_copy(update={"variant": variant})


def build_initialized_network(
    variant: str, recipe: Recipe, *, seed: int, num_classes: int, image_size: tuple[int, int]
) -> nn.Module:
    """Build ``variant`` with starting weights from ``seed`` and the dropout and stochastic depth of ``recipe``.

    Parts that two variants share under the same name and shape start from the same weights.
    """
    model = create_model(variant, num_classes=num_classes, image_size=image_size)
    initialize_by_name(model, seed)
    set_regularization(model, dropout=recipe.dropout, stochastic_depth=recipe.stochastic_depth)
    return model
