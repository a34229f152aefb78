"""Residual networks with a registered attention block: each block ``name`` gives the model ``<name>_resnet20``.

ResNet-20 for images of 32 pixels (He et al. 2016, arXiv 1512.03385, section 4.2) with the block where its entry in
`ATTENTION_BLOCKS` says, so that all systems can be trained on small data under one recipe. None of the papers trained
this one; the blocks are theirs, with fewer heads and smaller reductions where 16 channels would leave too little.
"""

from __future__ import annotations

from functools import partial
from typing import Unpack

from vtbench.attention.attention_block import ATTENTION_BLOCKS, AttentionBlock
from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet_small import SmallResNetOptions, build_small_resnet
from vtbench.models.residual import plug_in
from vtbench.variants import SMALL_IMAGES, ModelOptions, Setting, register_model


def build_attention_resnet20(block: AttentionBlock, options: ModelOptions, **setting: Unpack[Setting]) -> ResNet:
    """ResNet-20 with ``block``, whose options are ``options``."""
    places = plug_in(block, options)
    return build_small_resnet(20, SmallResNetOptions(), **setting, **places)


def register_resnet20(name: str) -> None:
    """Enter the model of a block, which a plug-in may bring at any time."""
    block = ATTENTION_BLOCKS[name]
    register_model(
        f"{name}_resnet20",
        partial(build_attention_resnet20, block),
        block.options,
        family=f"{name}_resnet",
        source=f"{block.source}; on ResNet-20",
        twin="resnet20",
        look=block.look,
        setting=SMALL_IMAGES,
        package=ATTENTION_BLOCKS.find_package(name),
    )


ATTENTION_BLOCKS.follow(register_resnet20)
