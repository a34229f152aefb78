"""What is known of a tensor that holds products of two factors, and how that is carried through other operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

_SHIFTED_CHAIN = 3
_PLAIN_CHAIN = 6

Flags = tuple[bool, ...]


@dataclass
class Contraction:
    """A multiplication whose result is summed: what it would cost as a matrix product, and how it was written."""

    macs: int
    spelling: str


@dataclass(frozen=True)
class FactorPair:
    """Two factors: along which dimensions each varies, and whether their product is larger than both."""

    left: Flags
    right: Flags
    outer: bool


@dataclass
class Chain:
    """Products added one by one. ``frame`` is the module call that adds them."""

    frame: object
    num_products: int = 0
    macs: int = 0
    left_storages: set[int] = field(default_factory=set)
    right_storages: set[int] = field(default_factory=set)
    found: Contraction | None = None


@dataclass
class Products:
    """What is known of a storage: the layout of the tensor that was written there and the pairs it is a product of."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    pairs: tuple[FactorPair, ...] = ()
    num_products: int = 0
    factors: tuple[int, int] | None = None
    differences: tuple[FactorPair, ...] = ()
    chain: Chain | None = None


Term = tuple[Products, Tensor]
"""What is known of the storage that a tensor views, and the tensor."""


def identify_storage(tensor: Tensor) -> int:
    """What all views of one memory have in common."""
    return int(tensor.untyped_storage()._cdata)


def is_factor(value: Any) -> bool:
    """Whether a product with ``value`` is more than a scaling: it has several numbers, or is one of several."""
    if not isinstance(value, Tensor):
        return False
    return value.numel() > 1 or value.untyped_storage().nbytes() > value.element_size()


def have_same_values(left: Tensor, right: Tensor) -> bool:
    """Whether both are the same view of the same memory."""
    return left is right or bool(
        identify_storage(left) == identify_storage(right)
        and left.storage_offset() == right.storage_offset()
        and left.shape == right.shape
        and left.stride() == right.stride()
    )


def describe(out: Tensor, **known: Any) -> Products:
    """What is ``known`` of a tensor that was just written."""
    return Products(tuple(out.shape), tuple(out.stride()), **known)


def describe_product(left: Tensor, right: Tensor, out: Tensor, inner: tuple[FactorPair, ...] = ()) -> Products:
    """``out`` is ``left * right``; ``inner`` are pairs that one of them is a product of already."""
    factors = (identify_storage(left), identify_storage(right))
    return describe(out, pairs=(*inner, pair_factors(left, right, out)), num_products=1, factors=factors)


def _varying(tensor: Tensor, num_dims: int) -> Flags:
    """Along which dimensions of a result of ``num_dims`` dimensions the tensor is not constant by construction."""
    missing = num_dims - tensor.dim()
    own = tuple(size > 1 and stride != 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (False,) * missing + own


def pair_factors(left: Tensor, right: Tensor, out: Tensor) -> FactorPair:
    """How ``left`` and ``right`` vary along the dimensions of ``out``, which is elementwise in both."""
    left_flags, right_flags = _varying(left, out.dim()), _varying(right, out.dim())
    only_left = any(a and not b for a, b in zip(left_flags, right_flags, strict=True))
    only_right = any(b and not a for a, b in zip(left_flags, right_flags, strict=True))
    return FactorPair(left_flags, right_flags, only_left and only_right)


def carry(terms: Sequence[Term], out: Tensor) -> Products:
    """The products of a result that is elementwise in ``terms``: their pairs, seen along the dimensions of ``out``."""
    result = describe(out)
    for products, tensor in terms:
        touched = _touched_dims(products, tensor, out.dim())
        result.pairs += tuple(_project(pair, touched) for pair in products.pairs)
        result.differences += tuple(_project(pair, touched) for pair in products.differences)
        result.num_products += products.num_products
        result.chain = result.chain or products.chain
    return result


def _touched_dims(products: Products, view: Tensor, num_dims: int) -> list[tuple[int, ...]]:
    """For each dimension of a result, the dimensions of the described tensor that the view steps through along it."""
    touched: list[tuple[int, ...]] = [()] * (num_dims - view.dim())
    for size, stride in zip(view.shape, view.stride(), strict=True):
        if size <= 1 or stride == 0:
            touched.append(())
            continue
        touched.append(
            tuple(
                dim
                for dim, (full, step) in enumerate(zip(products.sizes, products.strides, strict=True))
                if full > 1 and stride < step * full and stride * (size - 1) >= step
            )
        )
    return touched


def _project(pair: FactorPair, touched: Sequence[tuple[int, ...]]) -> FactorPair:
    return FactorPair(
        tuple(any(pair.left[dim] for dim in dims) for dims in touched),
        tuple(any(pair.right[dim] for dim in dims) for dims in touched),
        pair.outer,
    )


def move(term: Term, dims: Sequence[tuple[int, ...]], out: Tensor) -> Products:
    """The products of ``out``, whose numbers come from the term: its dimensions run through ``dims`` of the term's."""
    products, tensor = term
    seen = carry([term], tensor)
    seen.pairs = tuple(_project(pair, dims) for pair in seen.pairs)
    seen.differences = tuple(_project(pair, dims) for pair in seen.differences)
    seen.sizes, seen.strides, seen.factors = tuple(out.shape), tuple(out.stride()), products.factors
    return seen


def join(terms: Sequence[Term], dim: int, out: Tensor, *, stacked: bool) -> Products:
    """Concatenated or stacked products: along the joining dimension both factors may vary, if they are many."""
    result = describe(out, num_products=1)
    axis = dim % out.dim()
    for products, tensor in terms:
        for pair in carry([(products, tensor)], tensor).pairs:
            left, right = list(pair.left), list(pair.right)
            if stacked:
                left.insert(axis, len(terms) >= _PLAIN_CHAIN)
                right.insert(axis, len(terms) >= _PLAIN_CHAIN)
            else:
                left[axis] = right[axis] = True
            result.pairs += (FactorPair(tuple(left), tuple(right), pair.outer),)
    return result


def lengthen_chain(terms: Sequence[Term], out: Tensor, frame: object) -> tuple[Chain | None, Contraction | None]:
    """Add the products among ``terms`` to the chain that one of them belongs to, or begin one."""
    chains = [products.chain for products, _ in terms if products.chain is not None and products.chain.frame is frame]
    chain = chains[0] if chains else Chain(frame)
    for products, tensor in terms:
        if products.factors is not None and products.chain is not chain:
            chain.num_products += 1
            chain.macs += int(tensor.numel())
            chain.left_storages.add(products.factors[0])
            chain.right_storages.add(products.factors[1])
    shifted = len(chain.left_storages) == 1 and len(chain.right_storages) == 1
    if chain.num_products < (_SHIFTED_CHAIN if shifted else _PLAIN_CHAIN):
        return (chain if chain.num_products else None), None
    spelling = f"{chain.num_products} products added one by one, the last of shape {tuple(out.shape)}"
    if chain.found is not None:
        chain.found.macs, chain.found.spelling = chain.macs, spelling
        return chain, None
    chain.found = Contraction(chain.macs, spelling)
    return chain, chain.found
