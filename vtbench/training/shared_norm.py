"""Batch normalisation by the statistics of a batch that several processes hold together (SyncBN).

torch's own (2.14.1, 2.15.0) takes no tensors of a CPU, and its conversion of a network loses what subclasses add, such
as timm's activations. This one takes the place of the operator, so that networks stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# B images of this process, C channels. Statistics are float64, as are the sums that they come from.

_NAMES: dict[Any, tuple[str, ...]] = {
    torch.batch_norm: ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps"),
    F.batch_norm: ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"),
}
_TAKEN = ("input", "weight", "bias", "running_mean", "running_var", "momentum", "eps")
_DEFAULTS = {"weight": None, "bias": None, "training": False, "momentum": 0.1, "eps": 1e-5}


class SharedStatistics(TorchFunctionMode):
    """Inside, batch normalisation in training takes the statistics over all processes of ``group``.

    They all call it equally often. What stands in for images that a process has not, ``is_real`` false, does not count,
    and no gradient comes from it. Up to rounding outputs, gradients and running statistics are those of one process
    that has the whole batch.
    """

    def __init__(self, group: Any, *, is_real: bool = True) -> None:
        super().__init__()
        self._group, self._is_real = group, is_real

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Take the place of one operator and let the others be."""
        if func in _NAMES:
            told = _DEFAULTS | dict(zip(_NAMES[func], args, strict=False)) | dict(kwargs or {})
            if told["training"]:
                return _SharedBatchNorm.apply(*(told[name] for name in _TAKEN), self._group, self._is_real)
        return func(*args, **(kwargs or {}))


class _SharedBatchNorm(torch.autograd.Function):
    """y = (x - mean) / sqrt(var + eps) * weight + bias over all processes (Ioffe and Szegedy 2015)."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_C: Tensor | None,
        bias_C: Tensor | None,
        running_mean_C: Tensor | None,
        running_var_C: Tensor | None,
        momentum: float,
        eps: float,
        group: Any,
        is_real: bool,
    ) -> Tensor:
        mean_C, square_C, num = _combine(_measure(x, is_real=is_real), group)
        var_C = square_C / num
        if running_mean_C is not None and running_var_C is not None:
            running_mean_C.lerp_(mean_C.to(running_mean_C.dtype), momentum)
            running_var_C.lerp_((square_C / (num - 1).clamp(min=1)).to(running_var_C.dtype), momentum)
        mean_C, var_C = mean_C.float(), var_C.float()
        ctx.save_for_backward(x, weight_C, mean_C, var_C, num)
        ctx.eps, ctx.group, ctx.is_real = eps, group, is_real
        return torch.batch_norm(x, weight_C, bias_C, mean_C, var_C, False, 0.0, eps, False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Of x: w s (g - mean(g) - x' mean(g x')) with s = 1 / sqrt(var + eps) and x' the normalised x."""
        x, weight_C, mean_C, var_C, num = ctx.saved_tensors
        grad_x, grad_weight_C, grad_bias_C = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight_C, mean_C, var_C, None, None, False, ctx.eps, [True, True, True]
        )  # With given statistics: of x it is w s g, of weight and bias the sums over this process.
        sums_2C = torch.stack([grad_bias_C, grad_weight_C]).double()
        dist.all_reduce(sums_2C, group=ctx.group)
        scale_C = (var_C.double() + ctx.eps).rsqrt()
        gain_C = scale_C / num if weight_C is None else scale_C * weight_C.double() / num
        slope_C = -gain_C * scale_C * sums_2C[1]
        offset_C = -gain_C * sums_2C[0] - slope_C * mean_C
        shape = (1, -1, *[1] * (x.ndim - 2))
        grad_x += torch.addcmul(offset_C.float().view(shape), x, slope_C.float().view(shape))
        if not ctx.is_real:
            grad_x.zero_()
        return grad_x, *((None, None) if weight_C is None else (grad_weight_C, grad_bias_C)), *[None] * 6


def _measure(x: Tensor, *, is_real: bool) -> Tensor:
    """Number, mean and summed squares about it of each channel in this process, of shape (3, C)."""
    zeros_C = torch.zeros(x.shape[1], device=x.device)
    mean_C, var_C = torch.batch_norm_update_stats(x.detach(), zeros_C, zeros_C.clone(), 0.0)
    num = torch.full_like(mean_C, x.numel() // x.shape[1] * is_real, dtype=torch.float64)
    return torch.stack([num, mean_C.double(), var_C.double() * num])


def _combine(own_3C: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, summed squares about it and number over all processes (Chan et al. 1979, equation 2.1)."""
    shares = [torch.empty_like(own_3C) for _ in range(dist.get_world_size(group))]
    dist.all_gather(shares, own_3C, group=group)
    num_RC, mean_RC, square_RC = torch.stack(shares, dim=1)
    num_C = num_RC.sum(0)
    mean_C = (num_RC * mean_RC).sum(0) / num_C
    return mean_C, (square_RC + num_RC * (mean_RC - mean_C).square()).sum(0), num_C
