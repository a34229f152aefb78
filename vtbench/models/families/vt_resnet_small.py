"""VT-ResNet-20/32/56 for images of 32 pixels: the last of three stages becomes visual tokens.

Wu et al. 2020 (arXiv 2006.03677) have no such network; this one carries their structure over. {2, 3, 3} modules read
the 16x16 map of 2 x width channels; as in their VT-ResNet-18 the map has twice as many channels after the first module,
tokens have four times as many, and grouped convolutions have groups of ``width``.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Unpack

from vtbench.backbones.resnet import ResNet
from vtbench.models.families.resnet_small import SmallResNetOptions, build_small_resnet
from vtbench.models.families.vt_resnet import LOOK, tokenize_last_stage
from vtbench.models.token_options import TokenOptions
from vtbench.variants import SMALL_IMAGES, Setting, register_model

NUM_MODULES = {20: 2, 32: 3, 56: 3}


class SmallVtResNetOptions(TokenOptions, SmallResNetOptions):
    """What VT-ResNets for small images let one choose."""

    token_dim_per_width: ClassVar[int] = 8


def build_small_vt_resnet(depth: int, options: SmallVtResNetOptions, **setting: Unpack[Setting]) -> ResNet:
    """The VT-ResNet of ``depth`` layers with ``options``."""
    tokens = tokenize_last_stage(
        options, num_modules=NUM_MODULES[depth], width=options.width, out_channels=4 * options.width
    )
    return build_small_resnet(depth, options, **setting, last_stage=tokens)


for _depth in NUM_MODULES:
    register_model(
        f"vt_resnet{_depth}",
        partial(build_small_vt_resnet, _depth),
        SmallVtResNetOptions(),
        family="vt_resnet_small",
        source="Wu et al. 2020, arXiv 2006.03677, carried over to small images",
        twin=f"resnet{_depth}",
        look=LOOK,
        setting=SMALL_IMAGES,
    )
