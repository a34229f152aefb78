"""From a variant's spelling to a network."""

from __future__ import annotations

from typing import Any

from torch import nn

from vtbench.errors import UserError
from vtbench.variants import MODELS, split_variant


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
    **options: Any,
) -> nn.Module:
    """Build the model ``name`` with ``options``; ``name`` may carry options in its spelling, too.

    ``image_size`` is a side or (height, width) in pixels; without it, and without ``num_classes``, the preset's own are
    taken. The weights are drawn from torch's global generator. Raises ``UserError`` for an unknown model or option, for
    values that the model refuses, and for an option given twice.
    """
    bare_name, spelled = split_variant(name)
    spec = MODELS[bare_name]
    for option in spelled.keys() & options.keys():
        raise UserError(f"{name!r} sets the option {option!r}, and so does the call. Keep one of them.")
    resolved = spec.resolve_options({**spelled, **options})
    size = spec.image_size if image_size is None else image_size
    height, width = (size, size) if isinstance(size, int) else size
    classes = spec.num_classes if num_classes is None else num_classes
    if min(height, width) < 1 or classes < 1:
        raise UserError(
            f"The model {bare_name!r} was asked for images of {height}x{width} pixels and {classes} classes. "
            "Both must be at least 1."
        )
    model: nn.Module = spec.build(resolved, num_classes=classes, image_size=(height, width))
    return model
