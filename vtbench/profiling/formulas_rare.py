"""Method A for operators that few models run: products of three factors, distances, deformable and integer layers.

They are entered in `FORMULAS`, to be had from here with them; each with its gradients where these have an operator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch

from vtbench.profiling.errors import RefusedOperatorError
from vtbench.profiling.formulas import FORMULAS as FORMULAS
from vtbench.profiling.formulas import counts

_SPARSE = {torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc}


def refuse_unusual_numbers(args: Sequence[Any]) -> None:
    """The formulas of torch's operators are for real numbers that are all stored; anything else is an error."""
    tensors = [value for value in args if isinstance(value, torch.Tensor)]
    if any(tensor.is_complex() for tensor in tensors):
        raise RefusedOperatorError("its values are complex, and one complex product is three or four real ones")
    if any(tensor.layout in _SPARSE for tensor in tensors):
        raise RefusedOperatorError("a product with a sparse tensor depends on how many values are set")


@counts("aten::_trilinear")
def _count_trilinear(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """``nn.Bilinear`` and its gradients: the first two factors meet and are summed, then the third meets the result.

    Each factor lacks the dimensions that it is expanded along. What the third does not need is summed before it, and
    costs one product for every combination of the dimensions that the first two have; then the same with the third.
    """
    tensors, lacking, summed = args[:3], args[3:6], set(args[6])
    num_dims = tensors[0].dim() + len(lacking[0])
    sizes: dict[int, int] = {}
    dims = []
    for tensor, missing in zip(tensors, lacking, strict=True):
        own = [dim for dim in range(num_dims) if dim not in missing]
        sizes.update(zip(own, tensor.shape, strict=True))
        dims.append(set(own))
    first = dims[0] | dims[1]
    second = (first - (summed - dims[2])) | dims[2]
    return prod(sizes[dim] for dim in first) + prod(sizes[dim] for dim in second)


@counts("aten::_cdist_forward")
def _count_cdist(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Euclidean distances: each of the P x R pairs squares and sums M differences."""
    _refuse_other_norms(float(args[2]))
    return int(args[0].numel()) * int(args[1].shape[-2])


@counts("aten::_cdist_backward")
def _count_cdist_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """The gradient of one side: each pair scales M differences by one number and sums them."""
    _refuse_other_norms(float(args[3]))
    return int(args[0].numel()) * int(args[1].shape[-1])


@counts("aten::_euclidean_dist")
def _count_euclidean_distance(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    return int(args[0].numel()) * int(args[1].shape[-2])


def _refuse_other_norms(norm: float) -> None:
    if norm != 2.0:
        raise RefusedOperatorError(f"a distance with p = {norm:g} is not made of multiply-accumulates")


@counts("torchvision::deform_conv2d")
def _count_deformable_convolution(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """The convolution proper. Sampling between pixels is interpolation, and free like every interpolation."""
    return int(prod(out.shape) * prod(args[1].shape[1:]))


@counts("torchvision::_deform_conv2d_backward")
def _count_deformable_convolution_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """One product for the samples, of which image, offsets and mask take their gradients, and one for the weight."""
    return int(2 * prod(args[0].shape) * prod(args[2].shape[1:]))


@counts(*(f"quantized::linear{kind}" for kind in ("", "_relu", "_dynamic", "_relu_dynamic", "_dynamic_fp16")))
def _count_integer_linear(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Every vector of the input meets one row for each number of the output."""
    return int(args[0].numel()) * int(out.shape[-1])


@counts(*(f"quantized::conv{sides}d{kind}" for sides in (1, 2, 3) for kind in ("", "_relu", "_dynamic")))
def _count_integer_convolution(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """As in floating point; the weight lies packed in the second argument."""
    unpack = getattr(torch.ops.quantized, f"conv{out.dim() - 2}d_unpack")
    return int(prod(out.shape) * prod(unpack(args[1])[0].shape[1:]))
