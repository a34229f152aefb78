"""No relation: every token goes on as it is (an ablation of Wu et al. 2020, table 5)."""

from __future__ import annotations

from torch import Tensor

from vtbench.layers.residual_branch import BRANCH_SCALE
from vtbench.relations.relation import RELATIONS, Relation


@RELATIONS.register("none")
class NoRelation(Relation):
    """The identity: no parameters, no MACs."""

    name = "none"
    no_attention = "The relation is none: tokens are not mixed."

    def __init__(self, num_tokens: int, token_dim: int, branch_scale: float = BRANCH_SCALE) -> None:
        super().__init__()

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """The tokens as they are."""
        return tokens_BLD
