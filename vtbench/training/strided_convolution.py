"""Strided 1x1 convolutions of few channels, kept from a kernel that writes past its memory."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from vtbench.layers.layout import subsample

REGISTER_CHANNELS = 16
"""Channels in float32 that one AVX-512 register holds."""


def subsample_first(network: nn.Module) -> None:
    """Let 1x1 convolutions with a stride take every stride-th position before they multiply: the same function.

    Only those whose channels do not fill registers are changed; their ``stride`` is 1 afterwards, parameters keep their
    names. On a CPU with AVX-512, channels last, torch 2.14.1 computes the gradient of such a weight by a kernel of
    oneDNN that writes past its memory where the map is large: the process dies, or worse, does not.
    """
    for module in network.modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (1, 1)
            and module.stride != (1, 1)
            and module.padding == (0, 0)
            and module.in_channels % REGISTER_CHANNELS
        ):
            module.register_forward_pre_hook(partial(_subsample, module.stride))
            module.stride = (1, 1)


def _subsample(stride: tuple[int, ...], _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    (features_BCHW,) = inputs
    return (subsample(features_BCHW, stride),)
