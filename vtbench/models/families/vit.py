"""ViT-B/16 from torchvision and DeiT-B/16 from timm, as they are; only what vtbench asks of a model is attached."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from vtbench.catalog import Look
from vtbench.errors import UserError
from vtbench.variants import ModelOptions, register_model

_PATCH = 16


class VisionTransformerOptions(ModelOptions):
    """A vision transformer of the library has no options here."""


def build_vit_b_16(options: VisionTransformerOptions, *, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """ViT-B/16 (Dosovitskiy et al. 2021, arXiv 2010.11929, table 1): torchvision's, with its initialisation."""
    from torchvision.models.vision_transformer import MLPBlock, vit_b_16

    _check_size("vit_b_16", image_size, square=True)
    network = vit_b_16(image_size=image_size[0], num_classes=num_classes)
    network.stage_names = {"conv_proj": "stem", "encoder": "stage2", "heads": "head"}
    network.heads.role = "classifier"
    network.encoder.reset_parameters = partial(_reset_positions, network.encoder)
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            _attach(module, role="token attention", reset_parameters=module._reset_parameters)
        elif isinstance(module, MLPBlock):
            _attach(module, role="token MLP", reset_parameters=partial(_reset_mlp, module))
    network.reset_parameters = partial(_reset_ends, network)
    return network  # type: ignore[no-any-return]


def build_deit_b_16(options: VisionTransformerOptions, *, num_classes: int, image_size: tuple[int, int]) -> nn.Module:
    """DeiT-B/16 without distillation token (Touvron et al. 2021, arXiv 2012.12877, table 1): timm's.

    Raises ``UserError`` where timm is not installed.
    """
    try:
        from timm.models import create_model as create_timm_model
    except ImportError as error:
        raise UserError(
            "The model 'deit_b_16' comes from timm, which is not installed. Install it with "
            "pip install 'vtbench[timm]', or take 'vit_b_16', which has the same layers and comes with torchvision."
        ) from error
    _check_size("deit_b_16", image_size, square=False)
    network: Any = create_timm_model("deit_base_patch16_224", num_classes=num_classes, img_size=image_size)
    network.stage_names = {
        **dict.fromkeys(("patch_embed", "pos_drop", "patch_drop", "norm_pre"), "stem"),
        "blocks": "stage2",
        **dict.fromkeys(("norm", "fc_norm", "head_drop", "head"), "head"),
    }
    network.head.role = "classifier"
    for block in network.blocks:
        block.attn.role, block.mlp.role = "token attention", "token MLP"
    network.reset_parameters = network.init_weights
    return network  # type: ignore[no-any-return]


def _check_size(name: str, image_size: tuple[int, int], *, square: bool) -> None:
    height, width = image_size
    if height % _PATCH or width % _PATCH or (square and height != width):
        shape = "square images" if square else "images"
        raise UserError(
            f"The model {name!r} cuts {shape} into patches of {_PATCH}x{_PATCH} pixels and was given images of "
            f"{height}x{width}. Take sides that are multiples of {_PATCH}{' and equal' if square else ''}, e.g. 224."
        )


def _attach(module: nn.Module, **attributes: Any) -> None:
    for name, value in attributes.items():
        setattr(module, name, value)


def _reset_positions(encoder: Any) -> None:
    nn.init.normal_(encoder.pos_embedding, std=0.02)


def _reset_mlp(mlp: nn.Module) -> None:
    for layer in mlp.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)


def _reset_ends(network: Any) -> None:
    nn.init.zeros_(network.class_token)
    nn.init.trunc_normal_(network.conv_proj.weight, std=network.conv_proj.weight[0].numel() ** -0.5)
    nn.init.zeros_(network.conv_proj.bias)
    nn.init.zeros_(network.heads.head.weight)
    nn.init.zeros_(network.heads.head.bias)


register_model(
    "vit_b_16",
    build_vit_b_16,
    VisionTransformerOptions(),
    family="vit",
    source="Dosovitskiy et al. 2021, arXiv 2010.11929, table 1; torchvision",
    look=Look("ViT", "#6b6bd6", "d"),
)
register_model(
    "deit_b_16",
    build_deit_b_16,
    VisionTransformerOptions(),
    family="deit",
    source="Touvron et al. 2021, arXiv 2012.12877, table 1; timm",
    look=Look("DeiT", "#9a9aec", "d"),
)
