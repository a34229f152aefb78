"""The visual transformer in the place of a feature pyramid: VT-FPN (Wu et al. 2020, arXiv 2006.03677, section 4).

The paper says: 8 tokens of 1024 channels from every level, one transformer over the tokens of all levels, and its
output projected back onto the map of every level. It prints costs and no layers. Of the structures that follow from
what the costs of its VT-ResNets say (a transformer of 1.5 D^2 weights, dense W_K and W_V, a residual path, 1x1
convolutions dense or in groups of 64 channels), those in `WIRINGS` meet the printed costs of the neck with
ResNet-50: 8.5 G MACs at 800x1216 pixels and 2.0 G at 473x473. The costs do not tell them apart; "s1" follows the rules
of the VT-ResNets most closely. An eighth, s6, groups the values by another rule and is the same network as s5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.models.visual_transformer import TokenMlp, TokenReader
from vtbench.projectors.attention_projector import AttentionProjector, QueryForm
from vtbench.relations.relation import Relation
from vtbench.tokenizers.position import AttentionPosition
from vtbench.tokenizers.tokenizer import Tokenizer

# B images, C channels, H height, W width of a map; L tokens of a level; D dimensions of a token.

Side = Literal["dense", "in", "out", "narrower"]
"""By which of its widths a 1x1 convolution is grouped, a group being as wide as the first stage; dense: not at all."""


@dataclass(frozen=True)
class Wiring:
    """How a level is wired. C is the width of the stage's map X, P that of the pyramid, D that of a token.

    ``lateral`` is the 1x1 convolution C -> P of the residual path, left out where C = P if ``keep_equal``. Tokens are
    read ``tokens_from`` X or the lateral's output; their values are a 1x1 convolution to D (``value``; None: the map
    itself), followed by ``token_layers`` dense layers. ``query`` is that of `AttentionProjector`, a convolution of X
    grouped by ``query_groups``.
    """

    lateral: Side
    keep_equal: bool
    value: Side | None
    query: QueryForm
    query_groups: Side = "dense"
    tokens_from: Literal["map", "lateral"] = "map"
    token_layers: int = 0


WIRINGS = {
    "s1": Wiring("dense", True, "out", "convolution", "out"),
    "s2": Wiring("out", False, "narrower", "lateral"),
    "s3": Wiring("out", False, "in", "lateral", token_layers=2),
    "s4": Wiring("out", False, "in", "map"),
    "s5": Wiring("out", False, "in", "map", tokens_from="lateral", token_layers=1),
    "s7": Wiring("in", True, None, "convolution", "dense", tokens_from="lateral", token_layers=1),
    "s8": Wiring("out", True, "in", "lateral"),
}
"""Name -> wiring. All meet the printed costs with own tokens, s8 with all tokens."""


def count_groups(side: Side, in_channels: int, out_channels: int, group_width: int) -> int:
    """Groups of a 1x1 convolution; where a narrow network cannot have as many as the rule wants, the most it can."""
    grouped = {"dense": 1, "in": in_channels, "out": out_channels, "narrower": min(in_channels, out_channels)}
    wanted = 1 if side == "dense" else max(1, grouped[side] // group_width)
    return math.gcd(in_channels, out_channels, wanted)


class NeckLevel(TokenReader):
    """One level: reads tokens off its map, or off the lateral's output, and later projects tokens back onto it."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        token_mlp: TokenMlp,
        position: AttentionPosition | None,
        projector: AttentionProjector,
        *,
        tokens_from: Literal["map", "lateral"],
    ) -> None:
        super().__init__(tokenizer, token_mlp, position)
        self.projector = projector
        self.tokens_from = tokens_from


class VisualTransformerNeck(nn.Module):
    """Maps (B, C_l, H_l, W_l), finest first -> maps (B, P, H_l, W_l).

    Every level gives L tokens. They are read from the coarsest level to the finest, so that a recurrent tokenizer can
    ask the tokens of the level above where to look. ``relation`` sees the tokens of all levels together. Then each
    level's map asks its ``own`` L tokens, or ``all``. With ``top_down`` every output is added to the next finer one,
    as in a feature pyramid; the paper shows no such sum.
    """

    def __init__(
        self, levels: Sequence[NeckLevel], relation: Relation, *, tokens: Literal["own", "all"], top_down: bool
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.relation = relation
        self.tokens = tokens
        self.top_down = top_down
        for level in levels:
            level.relation_name = relation.name
            level.no_mixing = relation.no_attention or "Tokens of all levels are mixed, and their maps differ in size."

    def list_modules(self) -> list[NeckLevel]:
        """The levels, finest first."""
        return list(self.levels)  # type: ignore[arg-type]

    def forward(self, *maps_BCHW: Tensor) -> list[Tensor]:
        """Maps of all stages to maps of the pyramid."""
        levels = self.list_modules()
        kept = [level.projector.lateral(map_BCHW) for level, map_BCHW in zip(levels, maps_BCHW, strict=True)]
        found: list[Tensor] = []
        for index in reversed(range(len(levels))):
            source = kept[index] if levels[index].tokens_from == "lateral" else maps_BCHW[index]
            found.insert(0, levels[index].read_tokens(source, found[0] if found else None))
        related = self.relation(torch.cat(found, dim=1))
        shares = related.chunk(len(levels), dim=1) if self.tokens == "own" else (related,) * len(levels)
        outputs = [level.projector(*parts) for level, *parts in zip(levels, maps_BCHW, shares, kept, strict=True)]
        if self.top_down:
            for index in reversed(range(len(levels) - 1)):
                outputs[index] = outputs[index] + F.interpolate(outputs[index + 1], size=outputs[index].shape[2:])
        return outputs
