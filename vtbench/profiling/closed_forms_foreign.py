"""Method B for well-known classes of other libraries, found by the name of their class so that none is imported.

Each form says what the class does by itself; layers that it calls have their own forms.
"""

from __future__ import annotations

from math import prod
from typing import Any

from torch import nn

from vtbench.profiling.closed_forms import ClosedForm, Shape, state_convolution, state_linear


def state_self_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Tokens (..., N, C) attend to each other: the two products cost N * N * attention width each."""
    *batch, num_tokens, dim = inputs[0]
    return 2 * prod(batch) * num_tokens * num_tokens * _find_width(module, dim)


def state_self_attention_with_projection(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """The same, where queries, keys and values are made inside by one product with the weight of ``qkv``."""
    *batch, num_tokens, dim = inputs[0]
    projected = 0 if getattr(module, "qkv_bias_separate", False) else num_tokens * dim * int(module.qkv.out_features)
    return state_self_attention(module, inputs, outputs) + prod(batch) * projected


def state_map_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """The same on a map (B, C, H, W)."""
    batch, dim, height, width = inputs[0]
    return 2 * batch * (height * width) ** 2 * _find_width(module, dim)


def state_class_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """One class token attends to N tokens (B, N, C)."""
    batch, num_tokens, dim = inputs[0]
    return 2 * batch * num_tokens * dim


def state_channel_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Channels attend to each other within heads: two products of (C / heads) x N x (C / heads) per head."""
    batch, num_tokens, dim = inputs[0]
    return 2 * batch * num_tokens * dim * (dim // int(module.num_heads))


def state_shifted_window_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Swin of torchvision: maps (B, H, W, C), padded to whole windows; qkv and projection act on the padded map."""
    batch, height, width, dim = inputs[0]
    window_height, window_width = module.window_size
    padded = -(-height // window_height) * window_height * -(-width // window_width) * window_width
    attended = window_height * window_width
    return int(batch * padded * (4 * dim * dim + 2 * attended * dim))


def state_selective_kernel(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Selective kernels: the paths are summed with a weight for each path and channel."""
    return prod(outputs[0]) * int(module.num_paths)


def state_split_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """ResNeSt: the splits of the radix are summed with a weight for each split and channel."""
    return prod(outputs[0]) * int(module.radix) if module.radix > 1 else 0


def state_separable_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """MobileViT v2, maps (B, C, P, N): keys are summed over N with one score per token."""
    return prod(inputs[0])


def state_additive_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """SwiftFormer, maps (B, C, H, W): one score per query from a vector of weights, then the sum with these scores."""
    batch, _, height, width = inputs[0]
    return 2 * batch * height * width * int(module.to_query.out_features)


def state_blur(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """A depthwise convolution with a fixed filter."""
    return prod(outputs[0]) * int(module.filt_size) ** 2


_FORMS_OF_CLASSES: dict[ClosedForm, str] = {
    state_linear: "timm.layers.linear.Linear",
    state_convolution: """
        timm.layers.std_conv.StdConv2d timm.layers.std_conv.StdConv2dSame timm.layers.std_conv.ScaledStdConv2d
        timm.layers.std_conv.ScaledStdConv2dSame timm.layers.conv2d_same.Conv2dSame""",
    state_blur: "timm.layers.blur_pool.BlurPool2d",
    state_self_attention: """
        timm.layers.attention.Attention timm.layers.attention.AttentionRope timm.models.convit.GPSA
        timm.models.convit.MHSA timm.models.cait.TalkingHeadAttn timm.models.davit.WindowAttention
        timm.models.gcvit.WindowAttentionGlobal timm.models.gemma4_vit.Gemma4Attention timm.models.metaformer.Attention
        timm.models.nest.Attention timm.models.swin_transformer.WindowAttention
        timm.models.swin_transformer_v2_cr.WindowMultiHeadAttention timm.models.tiny_vit.Attention
        timm.models.tnt.Attention timm.models.vision_transformer_relpos.RelPosAttention
        torchvision.models.maxvit.RelativePositionalMultiHeadAttention""",
    state_self_attention_with_projection: """
        timm.models.beit.Attention timm.models.swin_transformer_v2.WindowAttention""",
    state_map_attention: """
        timm.models.maxxvit.Attention2d timm.models.visformer.Attention timm.layers.attention2d.Attention2d
        timm.models.fastvit.Attention""",
    state_class_attention: """
        timm.models.cait.ClassAttn timm.models.crossvit.CrossAttention timm.models.volo.ClassAttention""",
    state_channel_attention: """
        timm.models.davit.ChannelAttention timm.models.edgenext.CrossCovarianceAttn timm.models.xcit.XCA""",
    state_shifted_window_attention: """
        torchvision.models.swin_transformer.ShiftedWindowAttention
        torchvision.models.swin_transformer.ShiftedWindowAttentionV2""",
    state_selective_kernel: "timm.layers.selective_kernel.SelectiveKernel",
    state_split_attention: "timm.layers.split_attn.SplitAttn",
    state_separable_attention: "timm.models.mobilevit.LinearSelfAttention",
    state_additive_attention: "timm.models.swiftformer.EfficientAdditiveAttention",
}

FOREIGN_FORMS: dict[str, ClosedForm] = {
    name: form for form, names in _FORMS_OF_CLASSES.items() for name in names.split()
}
"""Full name of a class -> closed form."""


def _find_width(module: Any, dim: int) -> int:
    """The width of all heads together, under the names that libraries give it, else that of the tokens."""
    width = getattr(module, "attn_dim", 0)
    heads = getattr(module, "num_heads", 0) or getattr(module, "n_heads", 0)
    head_dim = getattr(module, "head_dim", 0) or getattr(module, "dim_head", 0)
    return int(width or heads * head_dim or dim)


def find_foreign_form(module: nn.Module) -> ClosedForm | None:
    """The closed form of a well-known class of another library."""
    if "forward" in vars(module):
        return None
    kind = type(module)
    return FOREIGN_FORMS.get(f"{kind.__module__}.{kind.__qualname__}")
