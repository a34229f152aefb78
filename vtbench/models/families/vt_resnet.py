"""VT-ResNet-18/34/50/101: the last stage becomes visual tokens (Wu et al. 2020, arXiv 2006.03677, section 4).

{2, 3, 3, 3} modules replace the last stage. The paper does not print the shapes of the layers; those here follow from
the costs in its tables 2 to 7, each of which they meet. After the first module the map has 512 channels. For 50 and
101 the paper can be read in two ways: 8 tokens on the map max-pooled to half its side with 512 channels, which comes
nearer to the printed costs, or 16 tokens on the full map with 1024 channels.

What costs no MACs is chosen so that the tokens learn as fast as the convolutions they replace: filters start near
uniform, residual branches start near zero, old tokens are added to new ones, values are rectified, values and keys are
normalised over the batch and tokens by layer. Each of these stands where it is made, with the reason; those that the
equations of the paper are without are options, see `vtbench.models.own_choices`.

At 32 pixels a map of stage 4 has 64 cells instead of 196, and 16 tokens cost as much as the convolutions they replace:
take ``num_tokens=8`` there.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, Unpack

from pydantic import Field
from torch import nn

from vtbench.backbones.resnet import ResNet
from vtbench.backbones.sites import LastStage, LastStageFactory, MapSize
from vtbench.catalog import Look
from vtbench.models.families.resnet import ResNetOptions
from vtbench.models.residual import DEPTHS, StrideOptions, find_stride
from vtbench.models.token_options import TokenOptions
from vtbench.models.visual_transformer import (
    TokenMean,
    TokenMlp,
    TokenModule,
    VisualTransformer,
    VisualTransformerModule,
)
from vtbench.projectors.attention_projector import AttentionProjector
from vtbench.relations.relation import RELATIONS
from vtbench.tokenizers.tokenizer import TOKENIZERS, TokenizerSite
from vtbench.tokenizers.value import ValueRule
from vtbench.variants import Setting, register_model

LOOK = Look("Visual Transformer", "#d1420e", "o")
NUM_MODULES = {18: 2, 34: 3, 50: 3, 101: 3}


class VtResNetOptions(TokenOptions, ResNetOptions):
    """What VT-ResNet-18 and 34 let one choose."""


class BottleneckVtResNetOptions(StrideOptions, VtResNetOptions):
    """What VT-ResNet-50 and 101 let one choose."""

    num_tokens: int = Field(8, ge=1, description="visual tokens of a module")
    reading: Literal["pooled", "full"] = Field(
        "pooled",
        description="of the paper: pooled = tokens of the map max-pooled to half its side, 8 in the paper's costs; "
        "full = of the whole map, without a change of channels, 16 in the paper's text",
    )


def tokenize_last_stage(
    options: TokenOptions, *, num_modules: int, width: int, out_channels: int, pool: nn.Module | None = None
) -> LastStageFactory:
    """Visual transformer modules, mean over the tokens, in the place of a last stage.

    ``width`` is that of the first stage: grouped convolutions have groups of so many channels (64 in the paper).
    ``out_channels``: of the map after the first module. ``pool`` is applied to the map before the first.
    """
    token_dim = options.token_dim or options.token_dim_per_width * width
    carry, is_rectified = options.find_choice("carry") == "on", options.find_choice("values") == "rectified"

    def make_module(index: int, channels: int) -> nn.Module:
        relation = RELATIONS[options.relations](options.num_tokens, token_dim, options.branch_scale)
        if index > 0 and options.projector == "off":
            return TokenModule(token_dim, relation, carry=carry, branch_scale=options.branch_scale)
        value = ValueRule("rectified" if is_rectified else "linear", channels, groups=channels // width)
        site = TokenizerSite(
            channels,
            options.num_tokens,
            token_dim,
            width,
            first=index == 0,
            value=value,
            filter_gain=options.filter_gain,
            whole_filters=options.find_choice("filters") == "whole",
        )
        is_projected = options.projector != "off" and index < num_modules - 1
        return VisualTransformerModule(
            TOKENIZERS[options.tokenizer](site),
            TokenMlp(channels, token_dim, num_layers=1 if channels == token_dim else 2),
            options.make_position(token_dim),
            relation,
            AttentionProjector(
                channels,
                out_channels,
                token_dim,
                lateral_groups=None if channels == out_channels else 1,
                query_groups=max(channels, out_channels) // width,
                zeroed=options.projector == "zeroed",
                branch_scale=options.branch_scale,
            )
            if is_projected
            else None,
            carry=carry,
        )

    def make_last_stage(in_channels: int, map_size: MapSize) -> LastStage:
        modules = [make_module(index, out_channels if index else in_channels) for index in range(num_modules)]
        return LastStage(VisualTransformer(modules, pool), TokenMean(), token_dim)

    return make_last_stage


def build_vt_resnet(depth: int, options: VtResNetOptions, **setting: Unpack[Setting]) -> ResNet:
    """The VT-ResNet of ``depth`` layers with ``options``."""
    block, depths = DEPTHS[depth]
    out_channels, pool = 8 * options.width, None
    if isinstance(options, BottleneckVtResNetOptions):
        if options.reading == "full":
            out_channels = 16 * options.width
        else:
            pool = nn.MaxPool2d(2, ceil_mode=True)
    return ResNet(
        block,
        depths,
        **setting,
        stem=options.stem,
        width=options.width,
        stride_in=find_stride(options),
        last_stage=tokenize_last_stage(
            options, num_modules=NUM_MODULES[depth], width=options.width, out_channels=out_channels, pool=pool
        ),
    )


for _depth in NUM_MODULES:
    register_model(
        f"vt_resnet{_depth}",
        partial(build_vt_resnet, _depth),
        VtResNetOptions() if DEPTHS[_depth][0] == "basic" else BottleneckVtResNetOptions(),
        family="vt_resnet",
        source="Wu et al. 2020, arXiv 2006.03677, section 4; ICCV 2021",
        twin=f"resnet{_depth}",
        look=LOOK,
    )
