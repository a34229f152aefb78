"""What families of residual networks share: depths, where the stride is, attention blocks plugged in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Unpack

import pydantic
from pydantic import Field
from torch import nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS, AttentionBlock
from vtbench.backbones.residual_block import BlockKind, StrideIn
from vtbench.backbones.resnet import ResNet
from vtbench.backbones.sites import BlockSite, ConvSite
from vtbench.variants import ModelOptions, Setting, register_model

DEPTHS: dict[int, tuple[BlockKind, tuple[int, int, int, int]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
}
"""Kind of block and number of blocks of each stage (He et al. 2016, arXiv 1512.03385, table 1)."""

Where = Mapping[int, tuple[int, ...]]
"""Stage -> positions in it, see `AttentionBlock`."""


class StrideOptions(ModelOptions):
    """What every ResNet of bottlenecks lets its user choose."""

    stride_in: StrideIn = Field(
        "3x3", description="convolution that has the stride: 3x3 is version 1.5 (torchvision), 1x1 the paper's"
    )


def find_stride(options: ModelOptions) -> StrideIn:
    """Where ``options`` put the stride of bottlenecks; basic blocks have no choice."""
    return options.stride_in if isinstance(options, StrideOptions) else "3x3"


def register_attention_resnets(
    name: str, depths: Iterable[int], options: ModelOptions, *, source: str, where: Where | None = None
) -> None:
    """Enter for each of `depths` the ResNet with the attention block ``name`` at ``where``, for ImageNet.

    ``options`` are the block's; those of bottlenecks also have `StrideOptions`.
    """
    block = ATTENTION_BLOCKS[name]
    for depth in depths:
        register_model(
            f"{name}_resnet{depth}",
            partial(_build, block, depth, where),
            options if DEPTHS[depth][0] == "basic" else _add_stride(options),
            family=f"{name}_resnet",
            source=source,
            twin=f"resnet{depth}",
            look=block.look,
        )


def plug_in(block: AttentionBlock, options: ModelOptions, where: Where | None = None) -> dict[str, Any]:
    """The keyword argument of `ResNet` that puts ``block`` at ``where``; without it, where the block itself says."""
    places = block.where if where is None else where

    def make_spatial(site: ConvSite) -> nn.Module | None:
        told = {name: getattr(site, name) for name in ("in_channels", "out_channels", "stride", "map_size")}
        return block.make(options, **told) if site.index in places.get(site.stage, ()) else None

    def make_unit(site: BlockSite) -> nn.Module | None:
        told = {"channels": site.channels, "map_size": site.map_size}
        return block.make(options, **told) if site.block in places.get(site.stage, ()) else None

    def make_gate(channels: int) -> nn.Module:
        return block.make(options, channels=channels)

    return {block.place: {"gate": make_gate, "spatial": make_spatial, "unit": make_unit}[block.place]}


def _build(
    block: AttentionBlock, depth: int, where: Where | None, options: ModelOptions, **setting: Unpack[Setting]
) -> ResNet:
    kind, depths = DEPTHS[depth]
    return ResNet(kind, depths, stride_in=find_stride(options), **setting, **plug_in(block, options, where))


def _add_stride(options: ModelOptions) -> ModelOptions:
    bases = (type(options), StrideOptions)
    return pydantic.create_model(type(options).__name__, __base__=bases)(**options.model_dump())
