"""Build a registered block as a residual network would."""

from __future__ import annotations

from torch import nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS


def build_registered(name: str, *, out_channels: int = 16, stride: int = 1) -> nn.Module:
    """The block for a map of 16 channels and 7x9 cells; ``out_channels`` and ``stride`` are those of a spatial one."""
    entry = ATTENTION_BLOCKS[name]
    told = {
        "gate": {"channels": 16},
        "unit": {"channels": 16, "map_size": (7, 9)},
        "spatial": {"in_channels": 16, "out_channels": out_channels, "stride": stride, "map_size": (7, 9)},
    }
    return entry.make(entry.options, **told[entry.place])
