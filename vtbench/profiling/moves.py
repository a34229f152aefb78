"""Operators that only move numbers: which dimensions of the source a dimension of the result runs through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Dims = list[tuple[int, ...]]
"""For each dimension of a result, those of the source that change along it."""

_IN_PLACE = """
    roll flip constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
    replication_pad3d gather index_select tril triu sort topk repeat upsample_nearest1d upsample_nearest2d
    upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d"""
_INDEX = {"aten::index", "aten::_unsafe_index"}
_REARRANGED: dict[str, Dims] = {
    "aten::pixel_shuffle": [(0,), (1,), (2, 1), (3, 1)],
    "aten::pixel_unshuffle": [(0,), (1, 2, 3), (2,), (3,)],
    "aten::im2col": [(0,), (1, 2, 3), (2, 3)],
}
MOVES = frozenset({*(f"aten::{name}" for name in _IN_PLACE.split()), *_INDEX, *_REARRANGED})
"""Operators whose first operand is moved, or selected from: no two of its numbers meet."""


def map_dims(name: str, args: Sequence[Any], out: Tensor) -> Dims:
    """Where the dimensions of ``out`` come from in the first operand. What cannot be told may come from anywhere."""
    source = args[0]
    mapped: Dims = [(dim,) for dim in range(source.dim())]
    if name == "aten::roll" and not (len(args) > 2 and args[2]):  # As if it had one dimension.
        mapped = []
    elif name in _INDEX:
        mapped = _map_index(source.dim(), args[1])
    elif name in _REARRANGED and source.dim() == len(_REARRANGED["aten::pixel_shuffle"]):
        mapped = _REARRANGED[name]
    elif name == "aten::repeat":
        mapped = [()] * (out.dim() - source.dim()) + mapped
    return mapped if len(mapped) == out.dim() else [tuple(range(source.dim()))] * out.dim()


def _map_index(num_dims: int, indices: Sequence[Tensor | None]) -> Dims:
    """The dimensions that the indices have together stand where the first of them is, or first if they lie apart."""
    kept: Dims = []
    indexed: list[int] = []
    dim, num_together, before = 0, 0, 0
    for index in indices:
        width = index.dim() if index is not None and index.dtype in (torch.bool, torch.uint8) else 1
        if index is None:
            kept.append((dim,))
        else:
            before = before if indexed else len(kept)
            indexed += range(dim, dim + width)
            num_together = max(num_together, 1 if width != 1 or index.dtype is torch.bool else index.dim())
        dim += width
    kept += [(rest,) for rest in range(dim, num_dims)]
    first = before if indexed == list(range(indexed[0], indexed[-1] + 1)) else 0
    return [*kept[:first], *[tuple(indexed)] * num_together, *kept[first:]]
