"""The token transformer of a visual transformer (Wu et al. 2020, equations 3 and 4)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtbench.layers.pointwise import NUM_HEADS, TokenLinear, join_heads, split_heads
from vtbench.layers.residual_branch import BRANCH_SCALE, BranchLayerNorm, StochasticDepth
from vtbench.relations.relation import RELATIONS, Relation

# B images; L tokens; D dimensions of a token; N heads; E dimensions of a head.
# G groups; T = B L tokens of all images; I = O = D / G dimensions of a group.

MLP_GROUPS = 4
TOKEN_DIM_MULTIPLE = 2 * NUM_HEADS
"""The token dimension is a multiple of this: heads divide the keys, which are half as wide as a token."""


@RELATIONS.register("transformer")
class TokenTransformer(Relation):
    """T' = T + norm(softmax((T K)(T Q)^T / sqrt(E)) T); T_out = T' + norm(relu(T' F1) F2): (B, L, D) -> (B, L, D).

    K, Q: D x D/2 dense; F1, F2: D x D in 4 groups; no values and no output projection, as the paper's costs imply.
    L (D^2 + D^2 / 2) + L^2 (D + D/2) MACs and 1.5 D^2 weights.

    Free choices: four heads, which share out T as they share out the keys; logits scaled by the root of a head's
    dimensions E; each residual branch ends in a layer normalisation whose weight starts at ``branch_scale``, a tenth by
    default. With the usual order, normalisation first and branches at full strength, the tokens of a short run learned
    much more slowly than the convolutions they replace: attention that is still random mixes the tokens before they
    mean anything.
    """

    role = "token attention"
    name = "transformer"

    def __init__(self, num_tokens: int, token_dim: int, branch_scale: float = BRANCH_SCALE) -> None:
        super().__init__()
        self.key = TokenLinear(token_dim, token_dim // 2)
        self.query = TokenLinear(token_dim, token_dim // 2)
        self.attention_norm = BranchLayerNorm(token_dim, branch_scale)
        self.drop_attention = StochasticDepth()
        self.mlp = GroupedMlp(token_dim)
        self.mlp_norm = BranchLayerNorm(token_dim, branch_scale)
        self.drop_mlp = StochasticDepth()

    def attend(self, tokens_BLD: Tensor) -> Tensor:
        """Softmax of keys times queries, see `Relation.attend`."""
        keys, queries = split_heads(self.key(tokens_BLD)), split_heads(self.query(tokens_BLD))
        return (keys @ queries.transpose(2, 3) / math.sqrt(keys.shape[3])).softmax(dim=3)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Tokens to related tokens."""
        mixed = join_heads(self.attend(tokens_BLD) @ split_heads(tokens_BLD))
        tokens_BLD = tokens_BLD + self.drop_attention(self.attention_norm(mixed))
        return tokens_BLD + self.drop_mlp(self.mlp_norm(self.mlp(tokens_BLD)))  # type: ignore[no-any-return]

    def expected_macs(self, tokens_shape: tuple[int, ...]) -> int:
        """Keys and queries, logits and mixing, and the two grouped layers."""
        batch, num_tokens, token_dim = tokens_shape
        keys_and_queries = 2 * num_tokens * token_dim * (token_dim // 2)
        attention = num_tokens * num_tokens * (token_dim // 2 + token_dim)
        return batch * (keys_and_queries + attention) + self.mlp.expected_macs(tokens_shape)


class GroupedMlp(nn.Module):
    """relu(T F1) F2, both D x D in 4 groups and without bias: (B, L, D) -> (B, L, D). L D^2 / 2 MACs."""

    role = "token MLP"

    def __init__(self, token_dim: int) -> None:
        super().__init__()
        self.expand = GroupedTokenLinear(token_dim, gain=math.sqrt(2))
        self.reduce = GroupedTokenLinear(token_dim, gain=1.0)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Tokens to tokens, each for itself."""
        tokens_GTI = tokens_BLD.reshape(-1, MLP_GROUPS, tokens_BLD.shape[2] // MLP_GROUPS).transpose(0, 1)
        related_GTI: Tensor = self.reduce(F.relu(self.expand(tokens_GTI)))
        return related_GTI.transpose(0, 1).reshape(tokens_BLD.shape)

    def expected_macs(self, tokens_shape: tuple[int, ...]) -> int:
        """Two grouped layers."""
        batch, num_tokens, token_dim = tokens_shape
        return 2 * batch * num_tokens * token_dim * (token_dim // MLP_GROUPS)


class GroupedTokenLinear(nn.Module):
    """A linear map in 4 groups, (G, T, I) -> (G, T, I): one product of matrices a group. T D^2 / 4 MACs.

    The weight (D, D / 4, 1) is that of a 1-D convolution of one token, and started as `TokenLinear`.
    """

    def __init__(self, token_dim: int, *, gain: float) -> None:
        super().__init__()
        self.gain = gain
        self.weight = nn.Parameter(torch.empty(token_dim, token_dim // MLP_GROUPS, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weight anew from the global generator."""
        nn.init.normal_(self.weight, std=self.gain / math.sqrt(self.weight.shape[1]))

    def forward(self, tokens_GTI: Tensor) -> Tensor:
        """Tokens to tokens, group by group."""
        weights_GOI = self.weight.view(MLP_GROUPS, -1, self.weight.shape[1])
        return tokens_GTI @ weights_GOI.transpose(1, 2)

    def expected_macs(self, tokens_shape: tuple[int, ...]) -> int:
        """A square matrix a group."""
        num_groups, num_tokens, group_dim = tokens_shape
        return num_groups * num_tokens * group_dim * group_dim
