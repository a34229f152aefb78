"""What families of residual networks share: an attention block plugged into the backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from vtbench.attention.attention_block import AttentionBlock
from vtbench.backbones.sites import BlockSite, ConvSite
from vtbench.variants import ModelOptions


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
