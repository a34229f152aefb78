"""What an attention block is to the rest of the house: something that a residual network can be built with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from torch import nn

from vtbench.catalog import Look
from vtbench.registry import Registry
from vtbench.variants import ModelOptions

Place = Literal["gate", "spatial", "unit"]
Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclass(frozen=True)
class AttentionBlock:
    """One registered block. Every entry becomes the model ``<name>_resnet20`` for small images.

    ``place`` is where a residual network takes it, and with that what ``build`` is told by keyword, beside the options:

    - "gate", on the residual branch of every block before the addition: ``channels``.
    - "spatial", instead of a 3x3 convolution: ``in_channels``, ``out_channels``, ``stride``, ``map_size``.
    - "unit", between two residual blocks: ``channels``, ``map_size``.

    ``map_size`` is (height, width) of the block's input for images of the size that the model is built for. A gate or a
    unit keeps the shape (B, C, H, W). A "spatial" block maps it to (B, out_channels, ceil(H / stride),
    ceil(W / stride)).

    ``options`` holds the defaults of the model for small images, and ``where`` says where that model has the block: for
    each of its stages 2, 3 and 4, the indices from 0 of the 3x3 convolutions in a residual block that it replaces
    ("spatial") or of the residual blocks in the stage that it follows ("unit"). A gate stands in every block.
    ``source`` is the paper and section. ``look`` is how figures draw it; None: as all that have none.
    """

    place: Place
    build: Callable[..., nn.Module]
    options: ModelOptions
    source: str
    where: Mapping[int, tuple[int, ...]]
    look: Look | None

    def make(self, options: ModelOptions, **told: Any) -> nn.Module:
        """The block with those of ``options`` that are its own, at a place of which it is ``told``."""
        return self.build(**told, **{name: getattr(options, name) for name in type(self.options).model_fields})


ATTENTION_BLOCKS: Registry[AttentionBlock] = Registry("attention block")
"""Every attention block. Importing ``vtbench.attention`` fills it."""


def register_attention(
    name: str,
    *,
    place: Place,
    options: ModelOptions,
    source: str,
    look: Look | None = None,
    where: Mapping[int, tuple[int, ...]] = MappingProxyType({2: (0, 1), 3: (0, 1), 4: (0, 1)}),
) -> Callable[[Builder], Builder]:
    """Decorate a block, or its builder, to enter it in `ATTENTION_BLOCKS`; see `AttentionBlock`.

    It becomes the model NAME_resnet20. Raises ``ValueError`` if the name is taken.
    """

    def enter(build: Builder) -> Builder:
        ATTENTION_BLOCKS.add(name, AttentionBlock(place, build, options, source, where, look))
        return build

    return enter
