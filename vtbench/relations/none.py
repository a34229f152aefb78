"""No relation: every token goes on as it is (an ablation of Wu et al. 2020, table 5)."""

from __future__ import annotations

from torch import nn

from vtbench.relations.relation import RELATIONS


@RELATIONS.register("none")
def make_no_relation(num_tokens: int, token_dim: int) -> nn.Module:
    """The identity: no parameters, no MACs."""
    return nn.Identity()
