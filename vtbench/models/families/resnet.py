"""ResNet-18/34/50/101 (He et al. 2016, arXiv 1512.03385, table 1)."""

from __future__ import annotations

from functools import partial
from typing import Literal, Unpack

from pydantic import Field

from vtbench.backbones.resnet import ResNet
from vtbench.catalog import Look
from vtbench.models.residual import DEPTHS, StrideOptions
from vtbench.variants import ModelOptions, Setting, register_model

LOOK = Look("ResNet", "#333333", "s")


class ResNetOptions(ModelOptions):
    """What a ResNet of basic blocks lets one choose."""

    stem: Literal["imagenet", "small"] = Field(
        "imagenet", description="first layers: 7x7 stride 2 and max-pool, or one 3x3 for images of about 32 px"
    )
    width: int = Field(64, ge=1, description="channels of the first stage; each later stage doubles them")


class BottleneckResNetOptions(StrideOptions, ResNetOptions):
    """A ResNet of bottlenecks can also choose where their stride is."""


def build_resnet(depth: int, options: ResNetOptions, **setting: Unpack[Setting]) -> ResNet:
    """The ResNet of ``depth`` layers with ``options``; its settings are `DEPTHS` and the options, nothing else."""
    block, depths = DEPTHS[depth]
    return ResNet(block, depths, **setting, **options.model_dump())


for _depth, (_kind, _) in DEPTHS.items():
    register_model(
        f"resnet{_depth}",
        partial(build_resnet, _depth),
        ResNetOptions() if _kind == "basic" else BottleneckResNetOptions(),
        family="resnet",
        source="He et al. 2016, arXiv 1512.03385, table 1",
        look=LOOK,
    )
