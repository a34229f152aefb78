"""Find multiply-accumulates that are written as a multiplication followed by a sum, which no operator name gives away.

A sum over a dimension along which *both* factors of a product vary is a contraction, what einsum would do. A gate is
not: its factor is constant along what is pooled afterwards. Products are followed by their storage, so views, copies,
scalings and masks in between do not hide them. Three rules, from certain to likely:

* outer: the product is larger than either factor, and is summed or averaged over a common dimension;
* weighted: the product is no larger than a factor, and is summed (an average is a pooling of gated values, and free);
* chain: products are added up one by one inside one module: from three on when both factors are slices of one tensor
  each (a convolution by shifts), from six on otherwise.

Squares of one tensor are statistics (norm, variance) and free, unless the tensor is an outer difference (distances).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_SHIFTED_CHAIN = 3
_PLAIN_CHAIN = 6

_MULTIPLY = {"aten::mul", "aten::mul_"}
_ADD = {"aten::add", "aten::add_", "aten::sub", "aten::sub_"}
_ADD_PRODUCT = {"aten::addcmul", "aten::addcmul_"}
_SQUARE = {"aten::pow", "aten::pow_", "aten::square", "aten::square_"}
_SUM = {"aten::sum", "aten::cumsum", "aten::nansum"}
_AVERAGE = {"aten::mean", "aten::_adaptive_avg_pool2d", "aten::avg_pool2d", "aten::_adaptive_avg_pool3d"}
_NORM = {"aten::linalg_vector_norm", "aten::norm"}
_SCATTER_SUM = {"aten::index_add", "aten::index_add_", "aten::scatter_add", "aten::scatter_add_"}
_KEEP = {
    "aten::clone", "aten::_to_copy", "aten::neg", "aten::neg_", "aten::div", "aten::div_", "aten::masked_fill",
    "aten::masked_fill_", "aten::native_dropout", "aten::dropout", "aten::contiguous", "aten::_reshape_copy",
}  # fmt: skip
_JOIN = {"aten::cat", "aten::stack"}

WATCHED = _MULTIPLY | _ADD | _ADD_PRODUCT | _SQUARE | _SUM | _AVERAGE | _NORM | _SCATTER_SUM | _KEEP | _JOIN
"""Operators that make, keep or sum products; all others end a product's trail when they write over it."""

Flags = tuple[bool, ...]


@dataclass
class Contraction:
    """A multiplication whose result is summed: what it would cost as a matrix product, and how it was written."""

    macs: int
    spelling: str


@dataclass(frozen=True)
class _Pair:
    """Two factors: along which dimensions each varies, and whether their product is larger than both."""

    left: Flags
    right: Flags
    outer: bool


@dataclass
class _Chain:
    """Products added one by one. ``frame`` is the module call that adds them."""

    frame: object
    num_products: int = 0
    macs: int = 0
    left_storages: set[int] = field(default_factory=set)
    right_storages: set[int] = field(default_factory=set)
    found: Contraction | None = None


@dataclass
class _Trail:
    """What is known of a storage: the layout of the tensor that was written there and the pairs it is a product of."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    pairs: tuple[_Pair, ...] = ()
    num_products: int = 0
    factors: tuple[int, int] | None = None
    differences: tuple[_Pair, ...] = ()
    chain: _Chain | None = None


class ContractionFinder:
    """Follows products through a forward pass; `observe` is told of every operator and answers what it completes."""

    def __init__(self) -> None:
        self._trails: dict[int, _Trail] = {}

    def observe(self, name: str, args: Sequence[Any], out: Any, *, is_view: bool, frame: object) -> Contraction | None:
        """Follow one executed operator. Returns a contraction that this operator completes, if any.

        ``frame`` identifies the innermost module call. A chain's contraction is returned once and grows afterwards.
        """
        if is_view:
            return None
        if name not in WATCHED:
            if self._trails:
                self._forget(out)
            return None
        if name in _MULTIPLY:
            self._multiply(args, out)
            return None
        if name in _ADD or name in _ADD_PRODUCT:
            return self._add(name, args, out, frame)
        if not self._trails:
            return None
        if name in _SQUARE:
            self._square(args, out)
            return None
        found = self._reduce(name, args)
        if name in _KEEP or name in _JOIN:
            self._keep(name, args, out)
        else:
            self._forget(out)
        return found

    def _forget(self, out: Any) -> None:
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor) and tensor.layout is torch.strided:
                self._trails.pop(_storage(tensor), None)

    def _find(self, tensor: Any) -> _Trail | None:
        if not self._trails or not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
            return None
        return self._trails.get(_storage(tensor))

    def _multiply(self, args: Sequence[Any], out: Tensor) -> None:
        left, right = args[0], args[1]
        trails = [self._find(left), self._find(right)]
        if not _is_factor(left) or not _is_factor(right):
            self._write(out, _carry([(t, x) for t, x in zip(trails, (left, right), strict=True) if t], out))
            return
        carried = _carry([(t, x) for t, x in zip(trails, (left, right), strict=True) if t], out)
        if _same_values(left, right):
            pairs = tuple(_Pair(p.left, p.right, True) for p in carried.differences)
            self._write(out, _trail(out, pairs=pairs, num_products=1) if pairs else _trail(out))
            return
        pair = _pair(left, right, out)
        self._write(
            out,
            _trail(out, pairs=(*carried.pairs, pair), num_products=1, factors=(_storage(left), _storage(right))),
        )

    def _square(self, args: Sequence[Any], out: Tensor) -> None:
        trail = self._find(args[0])
        power = args[1] if len(args) > 1 else 2
        if trail is not None and trail.differences and power == 2:
            differences = _carry([(trail, args[0])], out).differences
            self._write(out, _trail(out, pairs=differences, num_products=1))
        else:
            self._forget(out)

    def _add(self, name: str, args: Sequence[Any], out: Tensor, frame: object) -> Contraction | None:
        left, right = args[0], args[1]
        terms = [(trail, tensor) for tensor in (left, right) if (trail := self._find(tensor)) is not None]
        if name in _ADD_PRODUCT:
            left_factor, right_factor = args[1], args[2]
            product = _trail(
                out,
                pairs=(_pair(left_factor, right_factor, out),),
                num_products=1,
                factors=(_storage(left_factor), _storage(right_factor)),
            )
            base = self._find(left)
            terms = [(product, out)] + ([(base, left)] if base else [])
            right = None
        if not terms:
            if _is_factor(left) and _is_factor(right):
                pair = _pair(left, right, out)
                if pair.outer:
                    self._write(out, _trail(out, differences=(pair,)))
                    return None
            self._forget(out)
            return None
        carried = _carry(terms, out)
        chain, found = _lengthen(terms, out, frame)
        if len(terms) == 1 and _is_factor(right) and _is_factor(left):
            other = right if terms[0][1] is left else left
            if other.numel() >= out.numel():  # A residual connection: only products larger than their factors survive.
                carried.pairs = tuple(pair for pair in carried.pairs if pair.outer)
        carried.chain = chain
        carried.factors = None if len(terms) > 1 or not _is_scalar_sum(left, right) else terms[0][0].factors
        self._write(out, carried)
        return found

    def _reduce(self, name: str, args: Sequence[Any]) -> Contraction | None:
        source = args[0]
        if name in _SCATTER_SUM:
            source = next((a for a in args[1:] if isinstance(a, Tensor) and a.is_floating_point()), None)
        trail = self._find(source)
        if trail is None or name in _KEEP or name in _JOIN:
            return None
        seen = _carry([(trail, source)], source)
        pairs = seen.differences if name in _NORM else seen.pairs
        dims = _reduced_dims(name, args, source.dim())
        for pair in pairs:
            shared = any(pair.left[dim] and pair.right[dim] for dim in dims)
            if shared and (pair.outer or name not in _AVERAGE):
                return Contraction(
                    int(source.numel()) * max(seen.num_products, 1),
                    f"multiply, then {name.removeprefix('aten::')} over {tuple(source.shape)}",
                )
        return None

    def _keep(self, name: str, args: Sequence[Any], out: Any) -> None:
        target = out[0] if isinstance(out, (tuple, list)) else out
        if name in _JOIN:
            found = [(trail, x) for x in args[0] if (trail := self._find(x)) is not None]
            if not found:
                self._forget(target)
                return
            self._write(target, _join(name, found, args[1] if len(args) > 1 else 0, target))
            return
        trail = self._find(args[0])
        if trail is None:
            self._forget(target)
            return
        carried = _carry([(trail, args[0])], target)
        carried.factors = trail.factors
        self._write(target, carried)

    def _write(self, out: Tensor, trail: _Trail) -> None:
        if trail.pairs or trail.differences or trail.chain:
            self._trails[_storage(out)] = trail
        else:
            self._trails.pop(_storage(out), None)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _is_factor(value: Any) -> bool:
    """Whether a product with ``value`` is more than a scaling: it has several numbers, or is one of several."""
    if not isinstance(value, Tensor):
        return False
    return value.numel() > 1 or value.untyped_storage().nbytes() > value.element_size()


def _is_scalar_sum(left: Any, right: Any) -> bool:
    return not (_is_factor(left) and _is_factor(right))


def _same_values(left: Tensor, right: Tensor) -> bool:
    return left is right or bool(
        _storage(left) == _storage(right)
        and left.storage_offset() == right.storage_offset()
        and left.shape == right.shape
        and left.stride() == right.stride()
    )


def _trail(out: Tensor, **known: Any) -> _Trail:
    return _Trail(tuple(out.shape), tuple(out.stride()), **known)


def _varying(tensor: Tensor, num_dims: int) -> Flags:
    """Along which dimensions of a result of ``num_dims`` dimensions the tensor is not constant by construction."""
    missing = num_dims - tensor.dim()
    own = tuple(size > 1 and stride != 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (False,) * missing + own


def _pair(left: Tensor, right: Tensor, out: Tensor) -> _Pair:
    left_flags, right_flags = _varying(left, out.dim()), _varying(right, out.dim())
    only_left = any(a and not b for a, b in zip(left_flags, right_flags, strict=True))
    only_right = any(b and not a for a, b in zip(left_flags, right_flags, strict=True))
    return _Pair(left_flags, right_flags, only_left and only_right)


def _carry(terms: Sequence[tuple[_Trail, Tensor]], out: Tensor) -> _Trail:
    """The trail of a result that is elementwise in ``terms``: their pairs, seen along the dimensions of ``out``."""
    result = _trail(out)
    for trail, tensor in terms:
        touched = _touched_dims(trail, tensor, out.dim())
        result.pairs += tuple(_project(pair, touched) for pair in trail.pairs)
        result.differences += tuple(_project(pair, touched) for pair in trail.differences)
        result.num_products += trail.num_products
        result.chain = result.chain or trail.chain
    return result


def _touched_dims(trail: _Trail, view: Tensor, num_dims: int) -> list[tuple[int, ...]]:
    """For each dimension of a result, the dimensions of the trail's tensor that the view steps through along it."""
    touched: list[tuple[int, ...]] = [()] * (num_dims - view.dim())
    for size, stride in zip(view.shape, view.stride(), strict=True):
        if size <= 1 or stride == 0:
            touched.append(())
            continue
        touched.append(
            tuple(
                dim
                for dim, (full, step) in enumerate(zip(trail.sizes, trail.strides, strict=True))
                if full > 1 and stride < step * full and stride * (size - 1) >= step
            )
        )
    return touched


def _project(pair: _Pair, touched: Sequence[tuple[int, ...]]) -> _Pair:
    return _Pair(
        tuple(any(pair.left[dim] for dim in dims) for dims in touched),
        tuple(any(pair.right[dim] for dim in dims) for dims in touched),
        pair.outer,
    )


def _join(name: str, found: Sequence[tuple[_Trail, Tensor]], dim: int, out: Tensor) -> _Trail:
    """Concatenated or stacked products: along the joining dimension both factors may vary."""
    result = _trail(out, num_products=1)
    axis = dim % out.dim()
    for trail, tensor in found:
        seen = _carry([(trail, tensor)], tensor)
        for pair in seen.pairs:
            left, right = list(pair.left), list(pair.right)
            if name == "aten::stack":
                left.insert(axis, True)
                right.insert(axis, True)
            else:
                left[axis] = right[axis] = True
            result.pairs += (_Pair(tuple(left), tuple(right), pair.outer),)
    return result


def _reduced_dims(name: str, args: Sequence[Any], num_dims: int) -> tuple[int, ...]:
    if "pool" in name:
        return tuple(range(num_dims - (3 if "3d" in name else 2), num_dims))
    if name in _SCATTER_SUM:
        return (int(args[1]) % num_dims,)
    position = 2 if name in _NORM else 1
    dims = args[position] if len(args) > position else None
    if isinstance(dims, int):
        return (dims % num_dims,)
    if not dims:
        return tuple(range(num_dims))
    return tuple(int(dim) % num_dims for dim in dims)


def _lengthen(
    terms: Sequence[tuple[_Trail, Tensor]], out: Tensor, frame: object
) -> tuple[_Chain | None, Contraction | None]:
    """Add the products among ``terms`` to the chain that one of them belongs to, or begin one."""
    chains = [trail.chain for trail, _ in terms if trail.chain is not None and trail.chain.frame is frame]
    chain = chains[0] if chains else _Chain(frame)
    for trail, tensor in terms:
        if trail.factors is not None and trail.chain is not chain:
            chain.num_products += 1
            chain.macs += int(tensor.numel())
            chain.left_storages.add(trail.factors[0])
            chain.right_storages.add(trail.factors[1])
    shifted = len(chain.left_storages) == 1 and len(chain.right_storages) == 1
    if chain.num_products < (_SHIFTED_CHAIN if shifted else _PLAIN_CHAIN):
        return (chain if chain.num_products else None), None
    spelling = f"{chain.num_products} products added one by one, the last of shape {tuple(out.shape)}"
    if chain.found is not None:
        chain.found.macs, chain.found.spelling = chain.macs, spelling
        return chain, None
    chain.found = Contraction(chain.macs, spelling)
    return chain, chain.found
