"""Residual networks with a registered attention block: each block ``name`` gives the model ``<name>_resnet20``.

ResNet-20 for images of 32 pixels (He et al. 2016, arXiv 1512.03385, section 4.2) with the block where its entry in
`ATTENTION_BLOCKS` says, so that all systems can be trained on small data under one recipe. None of the papers trained
this one; the blocks are theirs, with fewer heads and smaller reductions where 16 channels would leave too little. The
families for ImageNet plug their blocks in with `plug_in`, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS, AttentionBlock
from vtbench.backbones.resnet import ResNet
from vtbench.backbones.sites import BlockSite, ConvSite
from vtbench.models.resnet_small import BLOCKS_A_STAGE
from vtbench.variants import MODELS, ModelOptions, ModelSpec


def plug_in(
    block: AttentionBlock, options: ModelOptions, where: Mapping[int, tuple[int, ...]] | None = None
) -> dict[str, Any]:
    """The keyword argument of `ResNet` that puts ``block`` at ``where`` (stage -> positions, see `AttentionBlock`)."""
    places = block.where if where is None else where

    def make_gate(channels: int) -> nn.Module:
        return block.build(options, channels=channels)

    def make_spatial(site: ConvSite) -> nn.Module | None:
        if site.index not in places.get(site.stage, ()):
            return None
        return block.build(
            options,
            in_channels=site.in_channels,
            out_channels=site.out_channels,
            stride=site.stride,
            map_size=site.map_size,
        )

    def make_unit(site: BlockSite) -> nn.Module | None:
        if site.block not in places.get(site.stage, ()):
            return None
        return block.build(options, channels=site.channels, map_size=site.map_size)

    factories = {"gate": make_gate, "spatial": make_spatial, "unit": make_unit}
    return {block.place: factories[block.place]}


def _register(name: str, block: AttentionBlock) -> None:
    def build(options: ModelOptions, *, num_classes: int, image_size: tuple[int, int]) -> ResNet:
        return ResNet(
            "basic",
            (BLOCKS_A_STAGE[20],) * 3,
            width=16,
            stem="small",
            shortcut="identity",
            num_classes=num_classes,
            image_size=image_size,
            **plug_in(block, options),
        )

    spec = ModelSpec(
        name=f"{name}_resnet20",
        build=build,
        options=block.options,
        image_size=(32, 32),
        num_classes=10,
        source=f"{block.source}; on ResNet-20",
        family=f"{name}_resnet",
        twin="resnet20",
    )
    MODELS.add(spec.name, spec)


for _name in ATTENTION_BLOCKS:
    _register(_name, ATTENTION_BLOCKS[_name])
