"""Residual networks with a registered attention block: each block ``name`` gives the model ``<name>_resnet20``.

ResNet-20 for images of 32 pixels (He et al. 2016, arXiv 1512.03385, section 4.2) with the block where its entry in
`ATTENTION_BLOCKS` says, so that all systems can be trained on small data under one recipe. None of the papers trained
this one; the blocks are theirs, with fewer heads and smaller reductions where 16 channels would leave too little.
"""

from __future__ import annotations

from vtbench.attention.attention_block import ATTENTION_BLOCKS, AttentionBlock
from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet_small import BLOCKS_A_STAGE
from vtbench.models.residual import plug_in
from vtbench.variants import MODELS, ModelOptions, ModelSpec


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
