"""The projector of a visual transformer (Wu et al. 2020, equation 5)."""

from __future__ import annotations

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.layers.layout import lay_out_like
from vtbench.layers.pointwise import NUM_HEADS, Pointwise, TokenLinear, split_heads
from vtbench.layers.residual_branch import BRANCH_SCALE, BranchBatchNorm, BranchScale, StochasticDepth

# B images, C channels, H height, W width of a map; L tokens; D dimensions of a token;
# N heads; E channels of a head; M cells.

QueryForm = Literal["convolution", "lateral", "map"]


class AttentionProjector(nn.Module):
    """X_out = relu(lateral(X) + norm(softmax_L(Q(X) (T W_K)^T / sqrt(E)) (T W_V))): the map asks the tokens.

    Map (B, C, H, W) and tokens (B, L, D) -> map (B, C', H, W). By ``query``, Q(X) is X W_Q ("convolution", 1x1, C'
    wide, in ``query_groups``), the lateral's output ("lateral") or X itself ("map", C wide). W_K is D x Q's width and
    W_V is D x C', left out where D = C'. ``lateral``, the residual path, is a normalised 1x1 convolution in
    ``lateral_groups``, or the identity where that is None.
    MACs: H W C C' / groups for W_Q and for the lateral, and L (D + H W) (C' + Q's width).

    Free choices: four heads, which share out the C' values and the keys (E a head), logits scaled by sqrt(E); the
    projection ends in a batch normalisation, or, without ``normalize``, in a scale alone, whose weight starts at
    ``branch_scale``, by default a tenth, so that the map passes almost unchanged at first; a rectifier after the
    addition, as in a residual block.

    ``zeroed`` is the control: what is projected, normalised or scaled, is multiplied by zero, so that the map learns
    nothing of the tokens. All else is computed as before, and costs as much.
    """

    role = "projector"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        token_dim: int,
        *,
        lateral_groups: int | None,
        query: QueryForm = "convolution",
        query_groups: int = 1,
        normalize: bool = True,
        zeroed: bool = False,
        branch_scale: float = BRANCH_SCALE,
    ) -> None:
        super().__init__()
        self.zeroed = zeroed
        self.query_form = query
        self.lateral_groups = lateral_groups
        self.out_channels = out_channels
        self.lateral: nn.Module = nn.Identity()
        if lateral_groups is not None:
            convolution = Pointwise(in_channels, out_channels, groups=lateral_groups)
            self.lateral = nn.Sequential(convolution, nn.BatchNorm2d(out_channels))
        self.query: nn.Module = nn.Identity()
        if query == "convolution":
            self.query = Pointwise(in_channels, out_channels, groups=query_groups)
        self.key = TokenLinear(token_dim, in_channels if query == "map" else out_channels)
        self.value = TokenLinear(token_dim, out_channels) if token_dim != out_channels else nn.Identity()
        self.norm = (BranchBatchNorm if normalize else BranchScale)(out_channels, branch_scale)
        self.drop_branch = StochasticDepth()

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor, kept_BCHW: Tensor | None = None) -> Tensor:
        """The map with the tokens' content added. ``kept_BCHW`` is ``lateral(map_BCHW)``, if it is known already."""
        kept = self.lateral(map_BCHW) if kept_BCHW is None else kept_BCHW
        projected = self._attend(kept if self.query_form == "lateral" else self.query(map_BCHW), tokens_BLD)
        branch = self.drop_branch(self.norm(lay_out_like(projected, kept)))
        return F.relu(kept + (branch * 0.0 if self.zeroed else branch))

    def _attend(self, asked_BCHW: Tensor, tokens_BLD: Tensor) -> Tensor:
        """softmax_L(Q (T W_K / sqrt(E))^T) (T W_V), channels before cells."""
        batch, channels, height, width = asked_BCHW.shape
        keys_BNLE = split_heads(self.key(tokens_BLD) / math.sqrt(channels // NUM_HEADS))
        values_BNLE = split_heads(self.value(tokens_BLD))
        queries_BNEM = asked_BCHW.reshape(batch, NUM_HEADS, channels // NUM_HEADS, height * width)
        weights_BNLM = (keys_BNLE @ queries_BNEM).softmax(dim=2)
        return (values_BNLE.transpose(2, 3) @ weights_BNLM).reshape(batch, -1, height, width)

    def expected_macs(
        self, map_shape: tuple[int, ...], tokens_shape: tuple[int, ...], kept_shape: tuple[int, ...] | None = None
    ) -> int:
        """Lateral (if not known already), queries, keys, values, logits and mixing."""
        batch, in_channels, height, width = map_shape
        num_tokens, token_dim = tokens_shape[1:]
        out_channels, cells = self.out_channels, height * width
        convolutions = 0
        if self.lateral_groups is not None and kept_shape is None:
            convolutions += in_channels * out_channels // self.lateral_groups
        if isinstance(self.query, Pointwise):
            convolutions += in_channels * out_channels // self.query.groups
        asked = in_channels if self.query_form == "map" else out_channels
        from_tokens = num_tokens * token_dim * (asked + (out_channels if token_dim != out_channels else 0))
        return batch * (cells * convolutions + from_tokens + cells * num_tokens * (asked + out_channels))
