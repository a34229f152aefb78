"""Find multiply-accumulates that are written as a multiplication followed by a sum, which no operator name gives away.

A sum over a dimension along which *both* factors of a product vary is a contraction, what einsum would do. A gate is
not: its factor is constant along what is pooled afterwards. Products are followed by their storage, so views, copies,
scalings, masks, shifts and padding in between do not hide them. Three rules, from certain to likely:

* outer: the product is larger than either factor, and is summed or averaged over a common dimension;
* weighted: the product is no larger than a factor, and is summed (an average is a pooling of gated values, and free);
* chain: products are added up one by one inside one module: from three on when both factors are slices of one tensor
  each (a convolution by shifts), from six on otherwise.

What parameters alone give is a constant, and a few branches that are scaled, stacked and summed are an addition.
Squares of one tensor are statistics (norm, variance) and free, unless the tensor is an outer difference (distances).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vtbench.profiling.moves import MOVES, map_dims
from vtbench.profiling.products import (
    Contraction,
    FactorPair,
    Products,
    Term,
    carry,
    describe,
    describe_product,
    have_same_values,
    identify_storage,
    is_factor,
    join,
    lengthen_chain,
    move,
    pair_factors,
)  # fmt: skip
from vtbench.profiling.sums import SUMS, find_sum

_MULTIPLY = {"aten::mul", "aten::mul_"}
_ADD = {"aten::add", "aten::add_", "aten::sub", "aten::sub_"}
_ADD_PRODUCT = {"aten::addcmul", "aten::addcmul_"}
_SQUARE = {"aten::pow", "aten::pow_", "aten::square", "aten::square_"}
_KEEP = {
    "aten::clone", "aten::_to_copy", "aten::neg", "aten::neg_", "aten::div", "aten::div_", "aten::masked_fill",
    "aten::masked_fill_", "aten::native_dropout", "aten::dropout", "aten::contiguous", "aten::_reshape_copy",
}  # fmt: skip
_JOIN = {"aten::cat", "aten::stack"}
_TAKE = {"aten::where", "aten::copy_"}
_ALIAS = {"aten::_unsafe_view", "aten::_reshape_alias", "aten::lift_fresh"}
"""Views that are not declared as such."""


class ContractionFinder:
    """Follows products through a forward pass; `observe` is told of every operator and answers what it completes."""

    def __init__(self) -> None:
        self._known: dict[int, Products] = {}

    def observe(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        out: Any,
        *,
        is_view: bool,
        is_constant: bool,
        frame: object,
    ) -> Contraction | None:
        """Follow one executed operator. Returns a contraction that this operator completes, if any.

        What parameters alone give ``is_constant``. ``frame`` identifies the innermost module call. A
        chain's contraction is returned once and grows afterwards.
        """
        if is_view or name in _ALIAS:
            return None
        if is_constant:
            if self._known:
                self._forget(out)
        elif name in _MULTIPLY:
            self._multiply(args, out)
        elif name in _ADD or name in _ADD_PRODUCT:
            return self._add(name, args, out, frame)
        elif self._known:
            found = self._reduce(name, args, kwargs) if name in SUMS else None
            if name in _SQUARE:
                self._square(args, out)
            elif name in _KEEP or name in _JOIN:
                self._keep(name, args, out)
            elif name in MOVES:
                self._move(name, args, out)
            elif name in _TAKE:
                self._take(args[1:], out)
            else:
                self._forget(out)
            return found
        return None

    def _forget(self, out: Any) -> None:
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor) and tensor.layout is torch.strided:
                self._known.pop(identify_storage(tensor), None)

    def _find(self, tensor: Any) -> Products | None:
        if not self._known or not isinstance(tensor, Tensor) or tensor.layout is not torch.strided:
            return None
        return self._known.get(identify_storage(tensor))

    def _find_terms(self, tensors: Sequence[Any]) -> list[Term]:
        return [(products, tensor) for tensor in tensors if (products := self._find(tensor)) is not None]

    def _multiply(self, args: Sequence[Any], out: Tensor) -> None:
        left, right = args[0], args[1]
        products = carry(self._find_terms((left, right)), out)
        if is_factor(left) and is_factor(right):
            if have_same_values(left, right):
                pairs = tuple(FactorPair(p.left, p.right, True) for p in products.differences)
                products = describe(out, pairs=pairs, num_products=1)
            else:
                products = describe_product(left, right, out, products.pairs)
        self._write(out, products)

    def _square(self, args: Sequence[Any], out: Tensor) -> None:
        terms = self._find_terms(args[:1])
        if terms and (len(args) == 1 or args[1] == 2):
            self._write(out, describe(out, pairs=carry(terms, out).differences, num_products=1))
        else:
            self._forget(out)

    def _add(self, name: str, args: Sequence[Any], out: Tensor, frame: object) -> Contraction | None:
        left, right = args[0], args[1]
        terms = self._find_terms((left, right))
        if name in _ADD_PRODUCT:
            terms = [(describe_product(args[1], args[2], out), out), *self._find_terms((left,))]
            right = None
        if not terms:
            self._forget(out)
            if is_factor(left) and is_factor(right) and (pair := pair_factors(left, right, out)).outer:
                self._write(out, describe(out, differences=(pair,)))
            return None
        products = carry(terms, out)
        chain, found = lengthen_chain(terms, out, frame)
        several = is_factor(left) and is_factor(right)
        if len(terms) == 1 and several:
            other = right if terms[0][1] is left else left
            if other.numel() >= out.numel():  # A residual connection: only products larger than their factors survive.
                products.pairs = tuple(pair for pair in products.pairs if pair.outer)
        products.chain = chain
        products.factors = None if len(terms) > 1 or several else terms[0][0].factors
        self._write(out, products)
        return found

    def _reduce(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Contraction | None:
        summed = find_sum(name, args, kwargs)
        terms = self._find_terms((summed.source,)) if summed is not None else []
        if summed is None or not terms:
            return None
        seen = carry(terms, summed.source)
        for pair in seen.differences if summed.is_norm else seen.pairs:
            left, right = ({dim for dim in summed.dims if flags[dim]} for flags in (pair.left, pair.right))
            shared = bool(left and right) if summed.mixed else bool(left & right)
            if shared and (pair.outer or not summed.is_average):
                return Contraction(
                    int(summed.source.numel()) * max(seen.num_products, 1),
                    f"multiply, then {name.removeprefix('aten::')} over {tuple(summed.source.shape)}",
                )
        return None

    def _keep(self, name: str, args: Sequence[Any], out: Any) -> None:
        target = out[0] if isinstance(out, (tuple, list)) else out
        terms = self._find_terms(args[0] if name in _JOIN else args[:1])
        if not terms:
            self._forget(target)
        elif name in _JOIN:
            dim = args[1] if len(args) > 1 else 0
            self._write(target, join(terms, dim, target, stacked=name == "aten::stack"))
        else:
            products = carry(terms, target)
            products.factors = terms[0][0].factors
            self._write(target, products)

    def _move(self, name: str, args: Sequence[Any], out: Any) -> None:
        target = out[0] if isinstance(out, (tuple, list)) else out
        terms = self._find_terms(args[:1])
        if terms:
            self._write(target, move(terms[0], map_dims(name, args, target), target))
        else:
            self._forget(target)

    def _take(self, sources: Sequence[Any], out: Tensor) -> None:
        """Some numbers of ``out`` are those of the sources; a part of a storage says nothing of the rest of it."""
        terms = self._find_terms(sources)
        if terms:
            self._write(out, carry(terms, out))
        elif out.layout is not torch.strided or out.numel() * out.element_size() >= out.untyped_storage().nbytes():
            self._forget(out)

    def _write(self, out: Tensor, products: Products) -> None:
        if products.pairs or products.differences or products.chain:
            self._known[identify_storage(out)] = products
        else:
            self._forget(out)
