"""The cost that a part states about itself: the closed form that a count of executed operators is held against.

A part that multiplies in its own ``forward`` (or wants to be checked as a whole) has a method
``expected_macs(*input_shapes)``: from the shapes of the positional tensor inputs, the MACs of one forward pass of the
whole batch. It is arithmetic, written from the equation and not from the code, and includes the part's children.
A part may also have a class attribute ``role``, one of `ROLES`: what its MACs are spent on. Children inherit it.
A model has an attribute ``stage_names``: the name of a direct child -> the stage it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable

ROLES = (
    "convolution",
    "spatial attention",
    "channel attention",
    "tokenizer",
    "position",
    "token attention",
    "token MLP",
    "projector",
    "classifier",
)
"""What MACs can be spent on, in the order in which tables show them."""


OPERATOR_MACS: dict[str, Callable[..., int]] = {}
"""Operators of our own, e.g. ``vtbench::window_dot`` -> MACs of one run, from the operator's own arguments.

A part that defines an operator enters it here, so that a count of executed operators knows it. (The table of
``torch.utils.flop_counter`` serves users' operators as well, but importing that costs time and memory.)
"""
