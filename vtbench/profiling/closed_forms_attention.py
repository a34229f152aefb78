"""Method B for attention of timm with fewer keys than queries, or with more products than those of tokens.

A form is told the shapes of the call and of what the layers inside it gave, which tell how far keys were pooled; those
layers have their own forms. It may say None where the shapes do not tell the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import nn

from vtbench.profiling.closed_forms import Shape

# B images or windows, N tokens, C channels, (H, W) a map.


@dataclass(frozen=True)
class CallShapes:
    """Shapes of the first input and output of a call, and of the first output of every module called by it, by name."""

    input: Shape
    output: Shape
    inside: Mapping[str, Shape]


CallForm = Callable[[Any, CallShapes], int | None]


def state_rotary_attention(module: Any, shapes: CallShapes) -> int:
    """EVA, tokens (B, N, C): the products of attention, and queries, keys and values where no layer made them."""
    batch, tokens, dim = shapes.input
    width = int(module.num_heads * module.head_dim)
    projected = "qkv" in shapes.inside or module.qkv is None
    return batch * tokens * (2 * tokens * width + (0 if projected else 3 * dim * width))


def state_cell_attention(module: Any, shapes: CallShapes) -> int:
    """VOLO, maps (B, H, W, C): all cells attend to each other."""
    batch, height, width, dim = shapes.input
    return 2 * batch * (height * width) ** 2 * dim


def state_partition_attention(module: Any, shapes: CallShapes) -> int:
    """MaxViT, partitions (B, ..., C): all cells attend to each other.

    TensorFlow's table of biases (heads, V, V) is looked up by products with one-hot vectors along height and width.
    """
    batch, *cells, _ = shapes.input
    table = getattr(module.rel_pos, "height_lookup", None)
    looked_up = 0
    if table is not None:
        heads, tall, wide = module.rel_pos.relative_position_bias_table.shape
        height, width = (int(side) for side in module.rel_pos.window_size)
        looked_up = heads * height**2 * wide * (tall + width**2)
    return 2 * batch * prod(cells) ** 2 * int(module.num_heads * module.dim_head) + looked_up


def state_parallel_attention(module: Any, shapes: CallShapes) -> int:
    """A block of a vision transformer, tokens (B, N, C), that computes attention beside its MLP."""
    batch, tokens, _ = shapes.input
    return 2 * batch * tokens * tokens * int(module.num_heads * module.head_dim)


def state_differential_attention(module: Any, shapes: CallShapes) -> int:
    """Two attentions of H heads among tokens (B, N, C), whose values are twice as wide as queries and keys.

    Where it is not fused, the two maps are subtracted first, and meet the values once.
    """
    batch, tokens, _ = shapes.input
    widths = 2 * (1 + 2) if module.fused_attn else 2 + 2
    return batch * tokens * tokens * int(module.num_heads * module.head_dim) * widths


def state_decomposed_attention(module: Any, shapes: CallShapes) -> int:
    """SAM, maps (B, H, W, C): attention of all cells, and queries times one embedding a row and one a column."""
    batch, height, width, dim = shapes.input
    cells = height * width
    positions = (height + width) if module.use_rel_pos else 0
    return batch * cells * dim * (2 * cells + positions)


def state_mask_unit_attention(module: Any, shapes: CallShapes) -> int:
    """Hiera, tokens (B, N, C): the queries, pooled or not, attend to the keys of their mask unit, or to all."""
    batch, queries, dim = shapes.output
    keys = int(module.q_stride * module.window_size) if module.use_mask_unit_attn else shapes.input[1]
    return 2 * batch * queries * keys * dim


def state_pooled_query_attention(module: Any, shapes: CallShapes) -> int:
    """Hiera of SAM 2, maps (B, H, W, C): pooled queries attend to all keys."""
    batch, height, width, dim = shapes.output
    return 2 * batch * height * width * prod(shapes.input[1:3]) * dim


def state_pooled_key_attention(module: Any, shapes: CallShapes) -> int:
    """Twins, PVT and Next-ViT, tokens (B, N, C): all queries attend to keys that were pooled before ``kv`` or ``k``."""
    batch, queries, dim = shapes.input
    keys = (shapes.inside.get("kv") or shapes.inside["k"])[1]
    return 2 * batch * queries * keys * dim


def state_grouped_attention(module: Any, shapes: CallShapes) -> int:
    """Twins: windows of the map, padded to whole ones, as ``qkv`` made them, attend within themselves."""
    *places, dim = shapes.inside["qkv"]
    return 2 * prod(places) * int(module.ws) ** 2 * (dim // 3)


def state_multi_query_attention(module: Any, shapes: CallShapes) -> int:
    """MobileNet v4: the queries of every head attend to the keys and values that all heads share."""
    batch, _, *queries = shapes.inside["query"]
    keys = prod(shapes.inside["key"][2:])
    return int(batch * prod(queries) * keys * module.num_heads * (module.key_dim + module.value_dim))


def state_biased_attention(module: Any, shapes: CallShapes) -> int:
    """LeViT and EfficientFormer, tokens (B, N, C) or maps (B, C, H, W): keys and values differ in width."""
    queries, keys = _count_tokens(module, shapes.output), _count_tokens(module, shapes.input)
    return int(shapes.input[0] * queries * keys * module.num_heads * (module.key_dim + module.val_dim))


def state_local_global_attention(module: Any, shapes: CallShapes) -> int:
    """EfficientFormer v2: N keys, and as many queries or, where the map is halved, those of the smaller one."""
    queries = int(getattr(module, "N2", module.N))
    return int(shapes.input[0] * queries * module.N * module.num_heads * (module.key_dim + module.d))


def state_cascaded_attention(module: Any, shapes: CallShapes) -> int:
    """EfficientViT of MSRA, maps (B, C, H, W): head after head on its share of the channels."""
    cells = prod(shapes.input[2:])
    return int(shapes.input[0] * cells * cells * module.num_heads * (module.key_dim + module.val_dim))


def state_single_head_attention(module: Any, shapes: CallShapes) -> int:
    """SHViT, maps (B, C, H, W): one head on a part of the channels."""
    cells = prod(shapes.input[2:])
    return int(shapes.input[0] * cells * cells * (module.qk_dim + module.pdim))


def state_modulated_attention(module: Any, shapes: CallShapes) -> int:
    """iFormer: one head in each window, as ``q`` and ``v_gate`` give them; the gate is half of the latter."""
    batch, query_dim, *window = shapes.inside["q"]
    return batch * prod(window) ** 2 * (query_dim + shapes.inside["v_gate"][1] // 2)


def state_convolved_attention(module: Any, shapes: CallShapes) -> int:
    """LowFormer and CPUBone: attention among the cells of the map that convolutions have made smaller."""
    batch, _, *cells = shapes.inside["pwise"]
    return 2 * batch * prod(cells) ** 2 * int(module.num_heads * module.head_dim)


def state_multiscale_attention(module: Any, shapes: CallShapes) -> int | None:
    """MViT v2, tokens (B, N, C), maybe one of class: queries and keys are pooled, positions are decomposed."""
    batch, queries, dim = shapes.output
    extra = int(module.has_cls_token)
    sides = _find_sides(shapes.inside.get("pool_k"), shapes.input[1] - extra)
    if sides is None:
        return None
    positions = (queries - extra) * sum(sides) if module.rel_pos_type == "spatial" else 0
    return batch * dim * (2 * queries * (prod(sides) + extra) + positions)


def state_factorized_attention(module: Any, shapes: CallShapes) -> int:
    """CoaT and DaViT, tokens (B, N, C): channels attend to channels within a head; two products."""
    batch, tokens, dim = shapes.input
    heads = int(getattr(module, "num_heads", 0) or module.groups)
    return 2 * batch * tokens * dim * (dim // heads)


def state_linear_attention(module: Any, shapes: CallShapes) -> int:
    """EfficientViT of MIT, maps: keys times values with a column of ones, and queries times that, a group and scale."""
    batch, channels, *cells = shapes.inside["qkv"]
    groups = channels // (3 * int(module.dim)) * (1 + len(module.aggreg))
    return int(2 * batch * groups * prod(cells) * module.dim * (module.dim + 1))


def state_bottleneck_attention(module: Any, shapes: CallShapes) -> int:
    """BoTNet, maps (B, C, H, W): all cells attend to each other; positions have a module of their own."""
    cells = prod(shapes.input[2:])
    return int(shapes.input[0] * cells * cells * module.num_heads * (module.dim_head_qk + module.dim_head_v))


def state_halo_attention(module: Any, shapes: CallShapes) -> int:
    """HaloNet, maps (B, C, H, W): every query attends to its block and the halo around it."""
    batch, _, height, width = shapes.input
    queries = (height // module.block_stride) * (width // module.block_stride)
    return int(batch * queries * module.win_size**2 * module.num_heads * (module.dim_head_qk + module.dim_head_v))


def state_relative_positions(module: Any, shapes: CallShapes) -> int:
    """Queries (..., C) times an embedding for each distance along height and width."""
    return prod(shapes.input) * int(module.height_rel.shape[0] + module.width_rel.shape[0])


def state_lambda_layer(module: Any, shapes: CallShapes) -> int:
    """Lambda networks, maps (B, C, H, W): lambdas of content and, unless convolved, of positions, and their use."""
    batch, cells = shapes.input[0], prod(shapes.input[2:])
    product = int(module.dim_qk * module.dim_v)
    positions = 0 if module.pos_emb is None else cells
    return batch * cells * product * (1 + 2 * int(module.num_heads) + positions)


def state_outlook_attention(module: Any, shapes: CallShapes) -> int:
    """VOLO, maps (B, H, W, C): weights of K^2 x K^2 for the K^2 values around every anchor."""
    batch, height, width, dim = shapes.input
    anchors = -(-height // module.stride) * -(-width // module.stride)
    return int(batch * anchors * dim * module.kernel_size**4)


def state_latent_pooling(module: Any, shapes: CallShapes) -> int:
    """Learned queries attend to N tokens (B, N, C)."""
    batch, tokens, _ = shapes.input
    return 2 * batch * tokens * int(module.latent_len * module.num_heads * module.head_dim)


def state_attention_pooling(module: Any, shapes: CallShapes) -> int:
    """The cells of a map (B, C, H, W) and their mean, or a class token, attend to each other."""
    tokens = prod(shapes.input[2:]) + 1
    return 2 * shapes.input[0] * tokens * tokens * int(module.embed_dim)


def state_bilinear_transform(module: Any, shapes: CallShapes) -> int:
    """Maps (B, C, H, W) are multiplied from both sides by square matrices."""
    return prod(shapes.input) * sum(shapes.input[2:])


def state_global_context(module: Any, shapes: CallShapes) -> int:
    """The cells of a map (B, C, H, W) are summed with one weight each."""
    return prod(shapes.input) if module.conv_attn is not None else 0


def state_conditional_convolution(module: Any, shapes: CallShapes) -> int:
    """CondConv: an image's filters are a sum of the experts' with its weights; then a convolution."""
    batch, experts = shapes.input[0], int(module.num_experts)
    filters = prod(module.weight_shape) + (0 if module.bias is None else int(module.out_channels))
    taps = prod(module.kernel_size) * (module.in_channels // module.groups)
    return int(batch * experts * filters + prod(shapes.output) * taps)


def state_looked_up_positions(module: Any, shapes: CallShapes) -> int:
    """Gemma: the embeddings of rows and columns are looked up by a product with one-hot vectors."""
    return 2 * prod(shapes.inside["input_proj"]) * int(module.position_embedding_size)


def state_pooling_by_position(module: Any, shapes: CallShapes) -> int:
    """Gemma, tokens (B, N, C): N / K^2 cells, each a product of all tokens with the weights of its own."""
    batch, tokens, dim = shapes.input
    return int(batch * tokens * dim * (tokens // module.pooling_kernel_size**2))


def state_rotary_angles(module: Any, shapes: CallShapes) -> int:
    """Gemma: frequencies times rows, and times columns, of N tokens (B, N, C)."""
    return 2 * prod(shapes.input[:2]) * int(module.inv_freq.numel())


def state_cosine_transform(module: Any, shapes: CallShapes) -> int:
    """A product with a fixed matrix."""
    return prod(shapes.input[:-1]) * int(module.weights.numel())


_FORMS_OF_CLASSES: dict[CallForm, str] = {
    state_rotary_attention: "models.eva.EvaAttention",
    state_cell_attention: "models.volo.Attention",
    state_partition_attention: "models.maxxvit.AttentionCl",
    state_parallel_attention: "models.vision_transformer.ParallelScalingBlock",
    state_differential_attention: """
        layers.diff_attention.DiffAttention models.vision_transformer.DiffParallelScalingBlock""",
    state_decomposed_attention: "models.vision_transformer_sam.Attention",
    state_mask_unit_attention: "models.hiera.MaskUnitAttention",
    state_pooled_query_attention: "models.hieradet_sam2.MultiScaleAttention",
    state_pooled_key_attention: """
        models.twins.GlobalSubSampleAttn models.pvt_v2.Attention models.nextvit.EfficientAttention""",
    state_grouped_attention: "models.twins.LocallyGroupedAttn",
    state_multi_query_attention: "layers.attention2d.MultiQueryAttention2d",
    state_biased_attention: "models.levit.Attention models.levit.AttentionDownsample models.efficientformer.Attention",
    state_local_global_attention: """
        models.efficientformer_v2.Attention2d models.efficientformer_v2.Attention2dDownsample""",
    state_cascaded_attention: "models.efficientvit_msra.CascadedGroupAttention",
    state_single_head_attention: "models.shvit.SHSA",
    state_modulated_attention: "models.iformer.SHMA",
    state_convolved_attention: "models.cpubone.ConvAttention models.lowformer.ConvAttention",
    state_multiscale_attention: "models.mvitv2.MultiScaleAttention",
    state_factorized_attention: "models.coat.FactorAttnConvRelPosEnc models.davit.ChannelAttentionV2",
    state_linear_attention: "models.efficientvit_mit.LiteMLA",
    state_bottleneck_attention: "layers.bottleneck_attn.BottleneckAttn",
    state_halo_attention: "layers.halo_attn.HaloAttn",
    state_relative_positions: "layers.bottleneck_attn.PosEmbedRel layers.halo_attn.PosEmbedRel",
    state_lambda_layer: "layers.lambda_layer.LambdaLayer",
    state_outlook_attention: "models.volo.OutlookAttention",
    state_latent_pooling: "layers.attention_pool.AttentionPoolLatent",
    state_attention_pooling: "layers.attention_pool2d.AttentionPool2d layers.attention_pool2d.RotAttentionPool2d",
    state_bilinear_transform: "layers.non_local_attn.BilinearAttnTransform",
    state_global_context: "layers.global_context.GlobalContext",
    state_conditional_convolution: "layers.cond_conv2d.CondConv2d",
    state_looked_up_positions: "models.gemma4_vit.Gemma4PatchEmbed",
    state_pooling_by_position: "models.gemma4_vit.Gemma4VisionPooler",
    state_rotary_angles: "models.gemma4_vit.Gemma4RotaryEmbedding2D",
    state_cosine_transform: "models.csatv2.Dct1d",
}

CALL_FORMS: dict[str, CallForm] = {
    f"timm.{name}": form for form, names in _FORMS_OF_CLASSES.items() for name in names.split()
}
"""Full name of a class -> closed form."""


def find_call_form(module: nn.Module) -> CallForm | None:
    """The closed form of a class of timm that is told what the layers inside it gave."""
    if "forward" in vars(module):
        return None
    kind = type(module)
    return CALL_FORMS.get(f"{kind.__module__}.{kind.__qualname__}")


def _count_tokens(module: Any, shape: Shape) -> int:
    return prod(shape[2:]) if getattr(module, "use_conv", False) else shape[1]


def _find_sides(pooled: Shape | None, tokens: int) -> tuple[int, ...] | None:
    """Height and width of the map of keys: as pooled, else of ``tokens`` if those can be a square alone."""
    if pooled is not None:
        return pooled[2:]
    side = round(tokens**0.5)
    return (side, side) if side * side == tokens else None
