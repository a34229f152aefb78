"""Operators that take functions: branches, loops, scans and flexible attention, run so that what is inside is counted.

Imports torch's compiler, and is imported only where a model runs such an operator.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch._dynamo  # `trace.plain_execution` sees that it is there and switches it off.
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from vtbench.layers.stated_cost import OPERATOR_MACS

Decide = Callable[[Tensor], bool]
"""Answers a question whose tensor has no value."""


@contextmanager
def eager_higher_order(decide: Decide | None = None) -> Iterator[None]:
    """Run the functions that such operators are given as if they stood in the model's code."""
    flexible = sys.modules.get("torch.nn.attention.flex_attention")
    refuse_device = getattr(flexible, "_validate_device", None)
    if flexible is not None:
        flexible._validate_device = lambda *tensors: None  # type: ignore[attr-defined]  # It refuses meta and CPU.
    try:
        with _Eager(decide):
            yield
    finally:
        if flexible is not None:
            flexible._validate_device = refuse_device  # type: ignore[attr-defined]


class _Eager(TorchFunctionMode):
    def __init__(self, decide: Decide | None) -> None:
        super().__init__()
        self._decide = decide

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if not isinstance(func, torch._ops.HigherOrderOperator):
            return func(*args, **given)
        with self:
            name = str(func.name())  # type: ignore[no-untyped-call]
            if name == "flex_attention":
                return _attend(*args, **given)
            if name == "cond" and isinstance(args[0], Tensor) and args[0].is_meta and self._decide is not None:
                return args[1 if self._decide(args[0]) else 2](*args[3])
            plain = func.py_kernels.get(torch._C.DispatchKey.CompositeExplicitAutograd)
            if plain is not None:
                with _without_modes(plain):
                    return plain(*args, **given)
        return func(*args, **given)


@contextmanager
def _without_modes(function: Callable[..., Any]) -> Iterator[None]:
    """Let a function of torch believe that nobody looks on: those of scans refuse to run else."""
    names = function.__globals__
    look_up = names.get("_get_current_dispatch_mode")
    if look_up is not None:
        names["_get_current_dispatch_mode"] = lambda: None
    try:
        yield
    finally:
        if look_up is not None:
            names["_get_current_dispatch_mode"] = look_up


def _attend(
    query: Tensor, key: Tensor, value: Tensor, score: Any, block_mask: tuple[Any, ...], *rest: Any, **kwargs: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Flexible attention: the blocks that its mask leaves, as the kernel computes them, without the scores' changes."""
    pairs = count_pairs(block_mask, query.shape, key.shape[-2])
    out = torch.ops.vtbench.block_attention(query, key, value, pairs)
    statistics = query.new_empty(query.shape[:-1], dtype=torch.float32)
    return out, statistics, statistics


def count_pairs(block_mask: Sequence[Any], query_shape: Sequence[int], num_keys: int) -> int:
    """Pairs of query and key that are computed for queries (B, heads, L, E): whole blocks, cut off at the ends.

    ``block_mask`` is that of flexible attention as a tuple. Raises ``NotImplementedError`` for one without values.
    """
    batch, heads, num_queries, _ = query_shape
    query_block, key_block = block_mask[-3], block_mask[-2]
    if query_block >= num_queries and key_block >= num_keys:
        return batch * heads * num_queries * num_keys
    pairs = 0
    for counts, indices in ((block_mask[2], block_mask[3]), (block_mask[4], block_mask[5])):
        if counts is None:
            continue
        if counts.is_meta:
            raise NotImplementedError("a block mask on the meta device does not say which blocks it leaves")
        shared = batch * heads // (counts.shape[0] * counts.shape[1])
        for of_batch, chosen_of_batch in zip(counts.tolist(), indices.tolist(), strict=True):
            for of_head, chosen_of_head in zip(of_batch, chosen_of_batch, strict=True):
                for row, (count, chosen) in enumerate(zip(of_head, chosen_of_head, strict=True)):
                    rows = max(0, min(query_block, num_queries - row * query_block))
                    keys = sum(max(0, min(key_block, num_keys - place * key_block)) for place in chosen[:count])
                    pairs += shared * rows * keys
    return pairs


@torch.library.custom_op("vtbench::block_attention", mutates_args=())
def _block_attention(query: Tensor, key: Tensor, value: Tensor, num_pairs: int) -> Tensor:
    shares_heads = query.shape[-3] != key.shape[-3]
    return scaled_dot_product_attention(query, key, value, enable_gqa=shares_heads).contiguous()


@torch.library.custom_op("vtbench::block_attention_backward", mutates_args=())
def _block_attention_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, num_pairs: int
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)


@_block_attention.register_fake
def _shape_attention(query: Tensor, key: Tensor, value: Tensor, num_pairs: int) -> Tensor:
    return query.new_empty((*query.shape[:-1], value.shape[-1]))


@_block_attention_backward.register_fake
def _shape_gradients(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, num_pairs: int
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])
    ctx.num_pairs = inputs[3]


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return *torch.ops.vtbench.block_attention_backward(gradient, *ctx.saved_tensors, ctx.num_pairs), None


_block_attention.register_autograd(_differentiate, setup_context=_save)


def _count_attention(query: Tensor, key: Tensor, value: Tensor, num_pairs: int) -> int:
    """One product with the key and one with the value for each pair."""
    return num_pairs * int(query.shape[-1] + value.shape[-1])


OPERATOR_MACS["vtbench::block_attention"] = _count_attention
OPERATOR_MACS["vtbench::block_attention_backward"] = lambda gradient, *args: 2 * _count_attention(*args)
