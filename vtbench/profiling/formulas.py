"""Method A: multiply-accumulates (MACs) of each operator that torch executes, from the shapes of its arguments.

A formula takes the operator's positional arguments, its keyword arguments and its result. Conventions: 1 MAC is one
multiply-accumulate; biases, scalings, padding masks and causal masks do not change the count, so a causal attention
counts as a full one and a padded convolution as if all its taps fell inside the image, as the field prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from torch import Tensor

from vtbench.profiling.errors import RefusedOperatorError

Formula = Callable[[Sequence[Any], Mapping[str, Any], Any], int]

FORMULAS: dict[str, Formula] = {}
"""Operator name, e.g. ``aten::mm`` -> formula."""


def counts(*names: str) -> Callable[[Formula], Formula]:
    """Enter a function as the formula of the operators of these names."""

    def enter(formula: Formula) -> Formula:
        for name in names:
            FORMULAS[name] = formula
        return formula

    return enter


def _matrix_product(left: Any, right: Any) -> int:
    """(..., m, k) x (..., k, n): every element of the left factor meets n columns."""
    return int(left.numel()) * int(right.shape[-1])


@counts("aten::mm", "aten::bmm", "aten::_int_mm", "aten::_scaled_mm")
def _count_mm(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return _matrix_product(args[0], args[1])


@counts("aten::addmm", "aten::addmm_", "aten::baddbmm", "aten::baddbmm_", "aten::addbmm", "aten::_addmm_activation")
def _count_addmm(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return _matrix_product(args[1], args[2])


@counts("aten::_weight_int8pack_mm")
def _count_packed_mm(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return int(args[0].numel()) * int(out.shape[-1])


@counts("aten::mv", "aten::dot", "aten::vdot")
def _count_mv(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return int(args[0].numel())


@counts("aten::addmv", "aten::addmv_")
def _count_addmv(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return int(args[1].numel())


@counts("aten::addr", "aten::addr_")
def _count_addr(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return int(args[1].numel() * args[2].numel())


@counts("aten::convolution", "aten::_convolution", "aten::convolution_overrideable", "aten::_slow_conv2d_forward")
def _count_convolution(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return count_convolution(args[0].shape, args[1].shape, out.shape, transposed=len(args) > 6 and bool(args[6]))


def count_convolution(
    input_shape: Sequence[int], weight_shape: Sequence[int], output_shape: Sequence[int], *, transposed: bool
) -> int:
    """Each position of the output (of the input, when transposed) meets one filter: prod(weight_shape[1:]) MACs."""
    return prod(input_shape if transposed else output_shape) * prod(weight_shape[1:])


@counts("aten::convolution_backward", "aten::convolution_backward_overrideable")
def _count_convolution_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """The gradients of input and of weight each pair every tap once more; ``output_mask`` says which are wanted."""
    grad_output, image, weight, transposed, output_mask = args[0], args[1], args[2], bool(args[7]), args[10]
    forward = count_convolution(image.shape, weight.shape, grad_output.shape, transposed=transposed)
    return forward * (int(output_mask[0]) + int(output_mask[1]))


def count_attention(query_shape: Sequence[int], key_shape: Sequence[int], value_shape: Sequence[int]) -> int:
    """Queries (..., heads, L, E), keys (..., S, E), values (..., S, Ev): L * S * (E + Ev) MACs per query head."""
    *leading, queries, key_dim = query_shape
    return prod(leading) * queries * key_shape[-2] * (key_dim + value_shape[-1])


@counts(
    "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
    "aten::_scaled_dot_product_efficient_attention",
    "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_fused_attention_overrideable",
    "aten::_scaled_dot_product_attention_math_for_mps",
)
def _count_fused_attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return count_attention(args[0].shape, args[1].shape, args[2].shape)


@counts(
    "aten::_scaled_dot_product_flash_attention_backward",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    "aten::_scaled_dot_product_efficient_attention_backward",
    "aten::_scaled_dot_product_cudnn_attention_backward",
    "aten::_scaled_dot_product_fused_attention_overrideable_backward",
)
def _count_fused_attention_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Two gradients for each of the two products. What a kernel recomputes to save memory is not counted."""
    return 2 * count_attention(args[1].shape, args[2].shape, args[3].shape)


@counts("aten::_native_multi_head_attention")
def _count_native_multi_head_attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """The fast path of ``nn.MultiheadAttention`` in evaluation: (B, L, E) inputs, packed projections."""
    query, key = args[0], args[1]
    if query.is_nested:
        raise RefusedOperatorError("its inputs are nested tensors, whose lengths differ within the batch")
    batch, queries, dim = query.shape
    keys = key.shape[1]
    projections = batch * (2 * queries + 2 * keys) * dim * dim
    return int(projections + 2 * batch * queries * keys * dim)


@counts("aten::_transformer_encoder_layer_fwd")
def _count_transformer_encoder_layer(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """The fast path of ``nn.TransformerEncoderLayer``: attention and the two linear layers of its MLP."""
    source, mlp_in, mlp_out = args[0], args[14], args[16]
    attention = _count_native_multi_head_attention((source, source, source), {}, None)
    batch, num_tokens, _ = source.shape
    return int(attention + batch * num_tokens * (mlp_in.numel() + mlp_out.numel()))


@counts("aten::mkldnn_rnn_layer")
def _count_mkldnn_rnn_layer(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """One direction of one layer: every step of every sequence meets both weight matrices once."""
    steps_and_batch, weight_input, weight_hidden = args[0], args[1], args[2]
    return int(prod(steps_and_batch.shape[:-1]) * int(weight_input.numel() + weight_hidden.numel()))


@counts("aten::_cudnn_rnn", "aten::miopen_rnn")
def _count_fused_rnn(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """All layers and directions at once; ``args[1]`` lists their matrices and biases."""
    return int(prod(args[0].shape[:-1]) * sum(weight.numel() for weight in args[1] if weight.dim() == 2))


@counts("aten::_embedding_bag", "aten::_embedding_bag_forward_only")
def _count_embedding_bag(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Sums of rows are free; sums weighted per sample are multiply-accumulates."""
    weighted = len(args) > 6 and args[6] is not None
    return int(args[1].numel()) * int(args[0].shape[-1]) if weighted else 0


@counts("aten::_embedding_bag_backward", "aten::_embedding_bag_dense_backward", "aten::_embedding_bag_sparse_backward")
def _count_embedding_bag_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """The gradient of a bag is added to each of its rows, weighted as the row was."""
    weighted = next((one for one in args[6:] if isinstance(one, Tensor) and one.is_floating_point()), None) is not None
    return int(args[1].numel()) * int(args[0].shape[-1]) if weighted else 0


@counts("aten::_embedding_bag_per_sample_weights_backward")
def _count_embedding_bag_weights_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """The gradient of a weight is the inner product of its row and of the gradient of its bag."""
    return int(args[2].numel()) * int(args[1].shape[-1])
