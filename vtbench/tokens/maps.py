"""Look at the tokens of a visual transformer while it classifies, through what its parts already return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vtbench.errors import UserError
from vtbench.models.visual_transformer import TokenModule, VisualTransformer, VisualTransformerModule
from vtbench.relations.graph_conv import GraphConvolution
from vtbench.relations.transformer import TokenTransformer
from vtbench.stats.attention_maps import TokenMaps
from vtbench.tokenizers.pooling import PoolingTokenizer

# B images, C channels, H height, W width; L tokens (M: the tokens that are mixed); D dimensions; N heads.

_NO_MIXING = {
    "graph_conv": "The relation is a graph convolution: its weights are signed, and mix no attention.",
    "none": "The relation is none: tokens are not mixed.",
}


@dataclass(frozen=True)
class Observed:
    """What was seen in a batch: for each image the maps of every module that has some, and why others have none."""

    images: tuple[tuple[TokenMaps, ...], ...]
    skipped: dict[int, str]


def observe_tokens(model: nn.Module, images_BCHW: Tensor, *, only: Sequence[int] = ()) -> Observed:
    """Run ``model`` on normalised images and return where the tokens of its modules look; ``only`` names modules.

    The network is not changed and does not know: hooks keep what tokenizers return and what goes into relations.
    The mixing weights of the four heads of a token transformer are averaged; the residual connection around them is
    left out, as in the paper's A_hat_l = sum_m W_lm A_m. Raises ``UserError`` for a model without tokens or without
    spatial attention, and for a module that it does not have.
    """
    modules = _find_modules(model, only)
    skipped = {index: reason for index, module in modules.items() if (reason := _explain_no_maps(module))}
    if len(skipped) == len(modules):
        raise UserError(f"There is no spatial attention to look at. {' '.join(dict.fromkeys(skipped.values()))}")
    watched = {index: _Watched(module) for index, module in modules.items() if index not in skipped}
    was_training = model.training
    with torch.no_grad(), _watch(watched.values()):
        model.eval()(images_BCHW)
    model.train(was_training)
    images = tuple(
        tuple(watched[index].describe(index, image) for index in watched) for image in range(len(images_BCHW))
    )
    return Observed(images, skipped)


def normalize_pixels(images_BHWC: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(pixel / 255 - mean) / std of each channel: (B, H, W, C) -> (B, C, H, W), float32."""
    normalized = (images_BHWC / 255 - np.asarray(mean)) / np.asarray(std)
    return torch.from_numpy(np.ascontiguousarray(normalized.transpose(0, 3, 1, 2), dtype=np.float32))


@dataclass
class _Watched:
    """One module, and what passed through it."""

    module: Any
    attention: Tensor = field(default_factory=lambda: torch.empty(0))
    mixing: Tensor | None = None

    def keep_attention(self, _: nn.Module, __: Any, output: tuple[Tensor, Tensor]) -> None:
        """Keep what the tokenizer returns beside the pooled values."""
        self.attention = output[1]

    def keep_mixing(self, relation: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Ask the relation for the weights that it will mix its input with."""
        if isinstance(relation, TokenTransformer):
            self.mixing = relation.attend(inputs[0]).mean(dim=1)

    def describe(self, index: int, image: int) -> TokenMaps:
        """The maps of one image, in double precision."""
        relation = _name_relation(self.module.relation)
        return TokenMaps(
            module=index,
            tokenizer=type(self.module.tokenizer).__name__.removesuffix("Tokenizer").lower(),
            relation=relation,
            attention=_renormalize(self.attention[image]),
            mixing=None if self.mixing is None else _renormalize(self.mixing[image][:, None])[:, 0],
            no_mixing=_NO_MIXING.get(relation, f"The relation {relation} gives no weights of token attention."),
        )


@contextmanager
def _watch(watched: Any) -> Iterator[None]:
    handles = []
    for one in watched:
        handles.append(one.module.tokenizer.register_forward_hook(one.keep_attention))
        handles.append(one.module.relation.register_forward_pre_hook(one.keep_mixing))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _find_modules(model: nn.Module, only: Sequence[int]) -> dict[int, nn.Module]:
    stages = [module for module in model.modules() if isinstance(module, VisualTransformer)]
    if not stages:
        raise UserError(
            "The network has no visual tokens: none of its stages is a visual transformer. "
            "Give a run or a model of the family vt_resnet; vtbench list shows them."
        )
    modules = dict(enumerate(module for stage in stages for module in _list_children(stage)))
    for index in only:
        if index not in modules:
            raise UserError(
                f"There is no module {index}: this model has {len(modules)} modules of visual tokens, "
                f"numbered 0 to {len(modules) - 1}."
            )
    return {index: modules[index] for index in sorted(set(only)) or modules}


def _list_children(stage: VisualTransformer) -> list[nn.Module]:
    return [stage.get_submodule(str(index)) for index in range(stage.num_modules)]


def _explain_no_maps(module: nn.Module) -> str:
    """Why a module has no maps; empty if it has some."""
    if isinstance(module, TokenModule):
        return "Without a projector, only the first module reads the map; later ones see tokens only."
    if isinstance(module, VisualTransformerModule) and isinstance(module.tokenizer, PoolingTokenizer):
        return "Tokens of tokenizer=pooling are the cells of a grid, and have no attention."
    return ""


def _name_relation(relation: nn.Module) -> str:
    kinds = {TokenTransformer: "transformer", GraphConvolution: "graph_conv", nn.Identity: "none"}
    return kinds.get(type(relation), type(relation).__name__)


def _renormalize(maps_LHW: Tensor) -> NDArray[np.float64]:
    """To double precision, where each map sums to 1 more nearly than it did in single precision."""
    wide_LHW = maps_LHW.double().cpu().numpy()
    return np.asarray(wide_LHW / wide_LHW.sum(axis=(1, 2), keepdims=True))
