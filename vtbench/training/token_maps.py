"""Look at the tokens of a visual transformer while it works, through what its parts already return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vtbench.errors import UserError
from vtbench.relations.relation import Relation
from vtbench.stats.attention_maps import TokenMaps
from vtbench.units import format_items

# B images, C channels, H height, W width; L tokens (M: the tokens that are mixed); D dimensions; N heads.


@runtime_checkable
class HasTokenModules(Protocol):
    """A stage or neck of visual tokens."""

    def list_modules(self) -> list[Any]:
        """Its modules of tokens, each with a tokenizer and what a record says of it."""


@dataclass(frozen=True)
class Observed:
    """What was seen in a batch: for each image the maps of every module that has some, and why others have none."""

    images: tuple[tuple[TokenMaps, ...], ...]
    skipped: dict[int, str]


def has_tokens(model: nn.Module) -> bool:
    """Whether a stage or neck of ``model`` has visual tokens."""
    return any(isinstance(module, HasTokenModules) for module in model.modules())


def observe_tokens(model: nn.Module, images_BCHW: Tensor, *, only: Sequence[int] = ()) -> Observed:
    """Run ``model`` on normalised images and return where the tokens of its modules look; ``only`` names modules.

    The network is not changed and does not know: hooks keep what tokenizers return and what goes into relations.
    The mixing weights of the four heads of a token transformer are averaged; the residual connection around them is
    left out, as in the paper's A_hat_l = sum_m W_lm A_m. Raises ``UserError`` for a model without tokens or without
    spatial attention, and for a module that it does not have.
    """
    modules = _find_modules(model, only)
    skipped = {index: reason for index, module in modules.items() if (reason := module.no_attention)}
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


@dataclass
class _Watched:
    """One module, and what passed through it."""

    module: Any
    attention: Tensor = field(default_factory=lambda: torch.empty(0))
    mixing: Tensor | None = None

    def keep_attention(self, _: nn.Module, __: Any, output: tuple[Tensor, Tensor]) -> None:
        """Keep what the tokenizer returns beside the pooled values."""
        self.attention = output[1]

    def keep_mixing(self, relation: Relation, inputs: tuple[Tensor, ...]) -> None:
        """Ask the relation for the weights that it will mix its input with."""
        weights_BNLL = relation.attend(inputs[0])
        assert weights_BNLL is not None, "a relation without weights says so in no_attention"
        self.mixing = weights_BNLL.mean(dim=1)

    def describe(self, index: int, image: int) -> TokenMaps:
        """The maps of one image, in double precision."""
        return TokenMaps(
            module=index,
            tokenizer=self.module.tokenizer.name,
            relation=self.module.relation_name,
            attention=_renormalize(self.attention[image]),
            mixing=None if self.mixing is None else _renormalize(self.mixing[image][:, None])[:, 0],
            no_mixing=self.module.no_mixing,
        )


@contextmanager
def _watch(watched: Any) -> Iterator[None]:
    handles = []
    for one in watched:
        handles.append(one.module.tokenizer.register_forward_hook(one.keep_attention))
        if not one.module.no_mixing:
            handles.append(one.module.relation.register_forward_pre_hook(one.keep_mixing))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _find_modules(model: nn.Module, only: Sequence[int]) -> dict[int, Any]:
    stages = [module for module in model.modules() if isinstance(module, HasTokenModules)]
    if not stages:
        raise UserError(
            "The network has no visual tokens: none of its stages is a visual transformer. "
            "Give a run or a model of the family vt_resnet or vt_fpn_resnet; vtbench list shows them."
        )
    modules = dict(enumerate(module for stage in stages for module in stage.list_modules()))
    for index in only:
        if index not in modules:
            raise UserError(
                f"There is no module {index}: this model has {format_items(len(modules), 'module')} of visual tokens, "
                f"numbered 0 to {len(modules) - 1}."
            )
    return {index: modules[index] for index in sorted(set(only)) or modules}


def _renormalize(maps_LHW: Tensor) -> NDArray[np.float64]:
    """To double precision, where each map sums to 1 more nearly than it did in single precision."""
    wide_LHW = maps_LHW.cpu().double().numpy()
    return np.asarray(wide_LHW / wide_LHW.sum(axis=(1, 2), keepdims=True))
