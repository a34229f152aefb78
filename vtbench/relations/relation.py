"""What a relation between tokens is to the rest of the house."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from vtbench.registry import Registry

RelationFactory = Callable[[int, int], nn.Module]
"""(num_tokens, token_dim) -> a module from tokens (B, L, D) to tokens of the same shape."""

RELATIONS: Registry[RelationFactory] = Registry("relation")
"""Every relation between tokens. Importing ``vtbench.relations`` fills it."""
