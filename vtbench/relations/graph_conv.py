"""Graph convolution between tokens (an ablation of Wu et al. 2020, table 5)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vtbench.layers.residual_branch import BRANCH_SCALE, BranchLayerNorm, StochasticDepth
from vtbench.relations.relation import RELATIONS, Relation


@RELATIONS.register("graph_conv")
class GraphConvolution(Relation):
    """T_out = T + norm(G T), G a learned L x L matrix, the same for all images: (B, L, D) -> (B, L, D).

    L^2 D MACs and L^2 weights, which is what the paper's costs imply. Normalisation and residual are as in
    `TokenTransformer`, so that the two differ in how tokens are mixed and in nothing else.
    """

    role = "token attention"
    name = "graph_conv"
    no_attention = "The relation is a graph convolution: its weights are signed, and mix no attention."

    def __init__(self, num_tokens: int, token_dim: int, branch_scale: float = BRANCH_SCALE) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.empty(num_tokens, num_tokens))
        self.norm = BranchLayerNorm(token_dim, branch_scale)
        self.drop_branch = StochasticDepth()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the matrix from the global generator with standard deviation 1 / sqrt(L)."""
        nn.init.normal_(self.mixing, std=1 / math.sqrt(self.mixing.shape[0]))

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Tokens to related tokens."""
        return tokens_BLD + self.drop_branch(self.norm(self.mixing @ tokens_BLD))  # type: ignore[no-any-return]

    def expected_macs(self, tokens_shape: tuple[int, ...]) -> int:
        """One L x L product."""
        batch, num_tokens, token_dim = tokens_shape
        return batch * num_tokens * num_tokens * token_dim
