"""Method B for well-known classes of other libraries, found by the name of their class so that none is imported.

Each form says what the class does by itself; layers that it calls have their own forms.
"""

from __future__ import annotations

from math import prod
from typing import Any

from torch import nn

from vtbench.profiling.closed_forms import ClosedForm, Shape, state_convolution, state_linear


def state_self_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Tokens (B, N, C) attend to each other: the two products cost N * N * attention width each."""
    batch, num_tokens = prod(inputs[0][:-2]), inputs[0][-2]
    width = int(getattr(module, "attn_dim", 0) or module.num_heads * module.head_dim)
    return 2 * batch * num_tokens * num_tokens * width


def state_window_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Swin of timm: windows (B, N, C) of tokens that attend to each other."""
    windows, num_tokens, _ = inputs[0]
    width = int(getattr(module, "attn_dim", 0) or module.dim)
    return 2 * windows * num_tokens * num_tokens * width


def state_shifted_window_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Swin of torchvision: maps (B, H, W, C), padded to whole windows; qkv and projection act on the padded map."""
    batch, height, width, dim = inputs[0]
    window_height, window_width = module.window_size
    padded = -(-height // window_height) * window_height * -(-width // window_width) * window_width
    attended = window_height * window_width
    return int(batch * padded * (4 * dim * dim + 2 * attended * dim))


def state_selective_kernel(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """SelectiveKernel of timm: the paths are summed with a weight for each path and channel."""
    return prod(outputs[0]) * int(module.num_paths)


def state_split_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """SplitAttn of timm: the splits of the radix are summed with a weight for each split and channel."""
    return prod(outputs[0]) * int(module.radix) if module.radix > 1 else 0


FOREIGN_FORMS: dict[str, ClosedForm] = {
    "torchvision.models.swin_transformer.ShiftedWindowAttention": state_shifted_window_attention,
    "timm.layers.attention.Attention": state_self_attention,
    "timm.models.swin_transformer.WindowAttention": state_window_attention,
    "timm.layers.selective_kernel.SelectiveKernel": state_selective_kernel,
    "timm.layers.split_attn.SplitAttn": state_split_attention,
    "timm.layers.std_conv.StdConv2d": state_convolution,
    "timm.layers.std_conv.StdConv2dSame": state_convolution,
    "timm.layers.std_conv.ScaledStdConv2d": state_convolution,
    "timm.layers.std_conv.ScaledStdConv2dSame": state_convolution,
    "timm.layers.conv2d_same.Conv2dSame": state_convolution,
    "timm.layers.linear.Linear": state_linear,
}
"""Full name of a class -> closed form."""


def find_foreign_form(module: nn.Module) -> ClosedForm | None:
    """The closed form of a well-known class of another library."""
    if "forward" in vars(module):
        return None
    kind = type(module)
    return FOREIGN_FORMS.get(f"{kind.__module__}.{kind.__qualname__}")
