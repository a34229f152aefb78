"""What a relation between tokens is to the rest of the house."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from vtbench.layers.residual_branch import BRANCH_SCALE
from vtbench.registry import Registry

# B images; L tokens; D dimensions of a token; N heads.


class Relation(nn.Module):
    """Base of all relations, which take tokens (B, L, D) to tokens of the same shape.

    ``name`` is what records call it. One that mixes tokens by attention gives the weights in `attend`; another says in
    ``no_attention`` why it gives none.
    """

    name: str
    no_attention = ""

    def attend(self, tokens_BLD: Tensor) -> Tensor | None:
        """Weights (B, N, L, L) with which each token (rows) takes from all tokens (columns); rows sum to 1."""
        return None


class RelationFactory(Protocol):
    """What makes a relation between so many tokens of so many dimensions.

    ``branch_scale`` is where the weights that end its residual branches start, if it has any.
    """

    def __call__(self, num_tokens: int, token_dim: int, branch_scale: float = BRANCH_SCALE) -> Relation:
        """Make one."""


RELATIONS: Registry[RelationFactory] = Registry("relation")
"""Every relation between tokens. Importing ``vtbench.relations`` fills it."""
