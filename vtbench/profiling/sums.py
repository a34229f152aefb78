"""What an operator sums: of which operand, and over which of its dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor

_PLAIN = {"aten::sum", "aten::cumsum", "aten::nansum"}
_MEAN = {"aten::mean"}
_POOL = {
    "aten::_adaptive_avg_pool2d": 2,
    "aten::avg_pool2d": 2,
    "aten::_adaptive_avg_pool3d": 3,
    "aten::avg_pool3d": 3,
}
_NORM = {"aten::linalg_vector_norm", "aten::norm"}
_SCATTER = {
    "aten::index_add", "aten::index_add_", "aten::scatter_add", "aten::scatter_add_", "aten::scatter_reduce",
    "aten::scatter_reduce_", "aten::scatter", "aten::scatter_", "aten::index_reduce", "aten::index_reduce_",
}  # fmt: skip
_PUT = {"aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index_put"}
_SEGMENT, _FOLD = "aten::segment_reduce", "aten::col2im"
SUMS = frozenset({*_PLAIN, *_MEAN, *_POOL, *_NORM, *_SCATTER, *_PUT, _SEGMENT, _FOLD})
"""Operators that sum numbers of one operand, or may."""


@dataclass(frozen=True)
class Sum:
    """Numbers of ``source`` are added up along ``dims``: along each by itself, or across them if they are ``mixed``."""

    source: Tensor
    dims: tuple[int, ...]
    is_average: bool = False
    is_norm: bool = False
    mixed: bool = False


def find_sum(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sum | None:
    """What an operator of `SUMS` adds up; None if it adds nothing up with these arguments.

    Nor does it where there are as many places as numbers, as of the outputs of experts, each of which gets its own.
    """
    if name in _SCATTER:
        return _find_scattered(name, args, kwargs)
    if name in _PUT:
        return _find_put(args)
    if name == _SEGMENT:
        return _find_segments(args, kwargs)
    if name == _FOLD:
        kernel, dilation, _, stride = (tuple(sides) for sides in args[2:6])
        reaches = (gap * (side - 1) + 1 for side, gap in zip(kernel, dilation, strict=True))
        overlaps = any(reach > step for reach, step in zip(reaches, stride, strict=True))
        return Sum(args[0], (args[0].dim() - 2, args[0].dim() - 1), mixed=True) if overlaps else None
    source = args[0]
    if name in _POOL:
        return Sum(source, tuple(range(source.dim() - _POOL[name], source.dim())), is_average=True)
    dims = _list_dims(args[2:3] if name in _NORM else args[1:2], source.dim())
    return Sum(source, dims, is_average=name in _MEAN, is_norm=name in _NORM)


def _find_scattered(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sum | None:
    adds = "add" in name
    way = "add" if adds else kwargs.get("reduce", args[4] if len(args) > 4 else None)
    source = next((one for one in args[1:] if isinstance(one, Tensor) and one.is_floating_point()), None)
    if way not in ("add", "sum", "mean") or source is None:
        return None
    dim = int(args[1]) % max(1, source.dim())
    if source.dim() and source.shape[dim] <= args[0].shape[dim]:
        return None
    return Sum(source, (dim,), is_average=way == "mean")


def _find_put(args: Sequence[Any]) -> Sum | None:
    """``target[indices] += values``: the dimensions that the indices have together stand where the first of them is."""
    target, indices, values = args[:3]
    given = [(place, index) for place, index in enumerate(indices) if index is not None]
    if not (len(args) > 3 and args[3]) or not given:
        return None
    places = [place for place, _ in given]
    num_dims, num_places = max(index.dim() for _, index in given), prod(target.shape[place] for place in places)
    together = places[-1] - places[0] == len(places) - 1
    first = (places[0] if together else 0) - (target.dim() - len(places) + num_dims - values.dim())
    dims = tuple(dim for dim in range(first, first + num_dims) if dim >= 0)
    if prod(values.shape[dim] for dim in dims) <= num_places:
        return None
    return Sum(values, dims, mixed=len(dims) > 1)


def _find_segments(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sum | None:
    source, way = args[:2]
    lengths, offsets = kwargs.get("lengths"), kwargs.get("offsets")
    axis = int(kwargs.get("axis", 0)) % source.dim()
    segments = lengths.shape[axis] if lengths is not None else offsets.shape[axis] - 1 if offsets is not None else 0
    if way not in ("sum", "mean") or source.shape[axis] <= segments:
        return None
    return Sum(source, (axis,), is_average=way == "mean")


def _list_dims(given: Sequence[Any], num_dims: int) -> tuple[int, ...]:
    dims = given[0] if given else None
    if isinstance(dims, int):
        return (dims % num_dims,) if num_dims else ()
    return tuple(int(dim) % num_dims for dim in dims) if dims else tuple(range(num_dims))
