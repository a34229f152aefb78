"""VT-FPN on ResNet-18/34/50/101: visual tokens in the place of the pyramid's convolutions (Wu et al. 2020, section 4).

See `visual_transformer_neck` for what the paper leaves open. Values are linear here, so that they can be folded:
``fold=on`` is the same function at fewer MACs, and makes no map as wide as a token. What the tokens write is scaled and
not normalised: from a few tokens a level, and small batches of large images, statistics of the batch would be those of
single images. All else is as in the VT-ResNets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal, Unpack

from pydantic import Field, model_validator
from torch import nn

from vtbench.backbones.sites import BlockSite
from vtbench.catalog import Look
from vtbench.errors import UserError
from vtbench.layers.pointwise import NUM_HEADS
from vtbench.models.families.fpn_resnet import COCO_STUFF, FpnOptions, build_segmentation
from vtbench.models.own_choices import OwnChoices
from vtbench.models.residual import DEPTHS, StrideOptions
from vtbench.models.segmentation import SegmentationNetwork
from vtbench.models.token_finding import OneOf, Relations
from vtbench.models.visual_transformer import TokenMlp
from vtbench.models.visual_transformer_neck import WIRINGS, NeckLevel, VisualTransformerNeck, count_groups
from vtbench.projectors.attention_projector import AttentionProjector
from vtbench.relations.relation import RELATIONS
from vtbench.tokenizers.tokenizer import TOKENIZERS, TokenizerSite
from vtbench.tokenizers.value import ValueRule
from vtbench.variants import Setting, register_model

LOOK = Look("VT-FPN", "#d1420e", "D")


class VtFpnOptions(OwnChoices, FpnOptions):
    """What VT-FPN on basic blocks lets one choose."""

    tokenizer: Annotated[str, OneOf(TOKENIZERS)] = Field(
        "static",
        description="how tokens are found: static = learned filters at every level, dynamic = at the coarsest level, "
        "and recurrent from there to the finest, pooling = a grid of cells, clustering = k-means at the coarsest level "
        "and recurrent after it",
    )
    num_tokens: int = Field(8, ge=1, description="visual tokens of a level")
    relations: Relations = "transformer"
    projector: Literal["on", "zeroed"] = Field(
        "on",
        description="write the tokens back to the maps; zeroed, the control: what is written is multiplied by zero, "
        "at the same cost",
    )
    tokens: Literal["own", "all"] = Field(
        "own", description="projected onto the map of a level: its own tokens, or those of all levels"
    )
    wiring: Literal["s1", "s2", "s3", "s4", "s5", "s7", "s8"] = Field(
        "s1",
        description="how a level is wired; the paper prints costs only, which all of these meet (s8 with tokens=all)",
    )
    fold: Literal["off", "on"] = Field(
        "off", description="pool the map first and make values of the tokens: the same function, fewer MACs"
    )
    top_down: Literal["off", "on"] = Field("off", description="add each level's map to the next finer one")

    @model_validator(mode="after")
    def _refuse_heads_without_channels(self) -> VtFpnOptions:
        if WIRINGS[self.wiring].query == "map" and self.width % NUM_HEADS:
            raise ValueError(
                f"wiring={self.wiring} asks with the map itself, whose channels are shared by {NUM_HEADS} attention "
                f"heads; width={self.width} must be a multiple of {NUM_HEADS}"
            )
        return self

    @model_validator(mode="after")
    def _refuse_to_fold_nothing(self) -> VtFpnOptions:
        for option, value in (("tokenizer", "pooling"), ("wiring", "s7")):
            if self.fold == "on" and getattr(self, option) == value:
                raise ValueError(
                    f"fold=on makes values of the tokens instead of the map, and {option}={value} makes no values. "
                    "Leave fold=on out"
                )
        return self


class BottleneckVtFpnOptions(StrideOptions, VtFpnOptions):
    """What VT-FPN on bottlenecks lets one choose."""


def tokenize_levels(
    options: VtFpnOptions, ends: Sequence[BlockSite], image_size: tuple[int, int]
) -> VisualTransformerNeck:
    """The neck for the maps of these stages. Raises ``UserError`` where a map has fewer cells than tokens."""
    token_dim = options.token_dim or options.token_dim_per_width * options.width
    wiring, num_tokens, pyramid = WIRINGS[options.wiring], options.num_tokens, options.sizes[0]

    def make_level(end: BlockSite) -> NeckLevel:
        _refuse_too_few_cells(end, num_tokens, image_size)
        channels = end.channels
        read = pyramid if wiring.tokens_from == "lateral" else channels
        value = ValueRule("none", read)
        if wiring.value is not None:
            groups = count_groups(wiring.value, read, token_dim, options.width)
            value = ValueRule("folded" if options.fold == "on" else "linear", token_dim, groups)
        group_width = read // count_groups("in", read, read, options.width)
        tokenizer = TOKENIZERS[options.tokenizer](
            TokenizerSite(
                read,
                num_tokens,
                token_dim,
                group_width,
                first=end is ends[-1],
                value=value,
                filter_gain=options.filter_gain,
                whole_filters=options.find_choice("filters") == "whole",
            )
        )
        has_lateral = channels != pyramid or not wiring.keep_equal
        return NeckLevel(
            tokenizer,
            TokenMlp(
                tokenizer.out_channels,
                token_dim,
                num_layers=max(wiring.token_layers, 0 if tokenizer.out_channels == token_dim else 1),
            ),
            options.make_position(token_dim),
            AttentionProjector(
                channels,
                pyramid,
                token_dim,
                lateral_groups=count_groups(wiring.lateral, channels, pyramid, options.width) if has_lateral else None,
                query=wiring.query,
                query_groups=count_groups(wiring.query_groups, channels, pyramid, options.width),
                normalize=False,
                zeroed=options.projector == "zeroed",
                branch_scale=options.branch_scale,
            ),
            tokens_from=wiring.tokens_from,
        )

    relation = RELATIONS[options.relations](len(ends) * num_tokens, token_dim, options.branch_scale)
    return VisualTransformerNeck(
        [make_level(end) for end in ends], relation, tokens=options.tokens, top_down=options.top_down == "on"
    )


def _refuse_too_few_cells(end: BlockSite, num_tokens: int, image_size: tuple[int, int]) -> None:
    rows, columns = end.map_size
    if rows * columns < num_tokens:
        fewer = " or fewer" if rows * columns > 1 else ""
        raise UserError(
            f"VT-FPN reads {num_tokens} tokens from the map of every stage, and for images of "
            f"{image_size[0]}x{image_size[1]} pixels that of stage {end.stage} has only {rows}x{columns} = "
            f"{rows * columns} cells. Take num_tokens={rows * columns}{fewer}, larger images, or stem=small."
        )


def build_vt_fpn(depth: int, options: VtFpnOptions, **setting: Unpack[Setting]) -> SegmentationNetwork:
    """VT-FPN on the ResNet of ``depth`` layers."""

    def make_neck(ends: Sequence[BlockSite]) -> nn.Module:
        return tokenize_levels(options, ends, setting["image_size"])

    return build_segmentation(depth, options, make_neck, **setting)


for _depth, (_kind, _) in DEPTHS.items():
    register_model(
        f"vt_fpn_resnet{_depth}",
        partial(build_vt_fpn, _depth),
        VtFpnOptions() if _kind == "basic" else BottleneckVtFpnOptions(stride_in="1x1"),
        family="vt_fpn_resnet",
        source="Wu et al. 2020, arXiv 2006.03677, section 4; ICCV 2021",
        twin=f"fpn_resnet{_depth}",
        look=LOOK,
        setting=COCO_STUFF,
        task="segmentation",
    )
