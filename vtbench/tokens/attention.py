"""Where the attention of any network looks: weights seen at the calls that every implementation goes through.

`torch.nn.functional.scaled_dot_product_attention` (timm, torchvision, most files), `multi_head_attention_forward`
(``nn.MultiheadAttention``), and softmax over places in attention that is written out. The network is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from vtbench.errors import UserError
from vtbench.stats.attention_maps import Maps, TokenMaps
from vtbench.training.token_maps import Observed
from vtbench.units import format_items

# B images, N heads, Q queries, M keys, P keys that are no places (class and register tokens) and come first, H height
# and W width of the map that the other keys make up: M = P + H W.

Look = Literal["class-token", "received"]

_MOST_PREFIX = 2
"""Class and distillation token; a network that has more says so, as timm's do (``num_prefix_tokens``)."""
_OVER_CHANNELS = ("XCA", "CrossCovarianceAttn")
"""timm's modules whose softmax runs over channels and not over places."""
_WITHOUT_RELATION = "Attention of others is looked at block by block: nothing is mixed afterwards."


@dataclass(frozen=True)
class Wish:
    """What is asked of attention; without ``heads`` their mean, without ``look`` the class token where there is one."""

    heads: tuple[int, ...] = ()
    look: Look | None = None


def observe_attention(model: nn.Module, images_BCHW: Tensor, wish: Wish, *, only: Sequence[int] = ()) -> Observed:
    """Run ``model`` on normalised images and return where its attention looks; ``only`` names blocks by order of calls.

    A row is a head, or the mean of all: the class token's weights over the places (also those of a single query that
    pools), or the weights that each place receives, averaged over all queries. Both are made to sum to 1 over places.
    Raises ``UserError`` where there is no attention over the image, and for a block or head that there is not.
    """
    calls = _record_calls(model, images_BCHW)
    if not calls:
        raise UserError(
            "The network has no visual tokens and no attention to look at: nothing in it calls "
            "scaled_dot_product_attention or nn.MultiheadAttention, or takes a softmax over places. Give a network "
            "with attention, such as vt_resnet20 or timm:vit_tiny_patch16_224."
        )
    for index in only:
        if index not in range(len(calls)):
            raise UserError(
                f"There is no module {index}: this model has {format_items(len(calls), 'call')} of attention, "
                "numbered from 0."
            )
    chosen = sorted(set(only)) or range(len(calls))
    prefix = getattr(model, "num_prefix_tokens", None)
    has_class = not (prefix and getattr(model, "cls_token", True) is None)
    grids = {index: _find_grid(calls[index].weights.shape[-1], images_BCHW, prefix) for index in chosen}
    skipped = {
        index: f"The {calls[index].weights.shape[-1]} keys of {calls[index].layer} are no map in the proportions of "
        "the image."
        for index, grid in grids.items()
        if grid is None
    }
    if len(skipped) == len(grids):
        raise UserError(f"There is no spatial attention to look at. {' '.join(dict.fromkeys(skipped.values()))}")
    looks = {index: _look(calls[index], grid, wish, has_class) for index, grid in grids.items() if grid is not None}
    images = tuple(
        tuple(
            _describe(index, calls[index], wish, look, maps_BLHW[image]) for index, (look, maps_BLHW) in looks.items()
        )
        for image in range(len(images_BCHW))
    )
    return Observed(images, skipped)


@dataclass
class _Call:
    """One call of attention: the path of the module that made it, and the weights (B, N, Q, M)."""

    layer: str
    weights: Tensor


def _record_calls(model: nn.Module, images_BCHW: Tensor) -> list[_Call]:
    seen = _Seen(len(images_BCHW))
    was_training = model.training
    with torch.no_grad(), seen.follow(model), seen:
        model.eval()(images_BCHW)
    model.train(was_training)
    return seen.calls


class _Seen(TorchFunctionMode):
    """Keeps the weights of every call of attention over whole images, and passes all calls on."""

    def __init__(self, num_images: int) -> None:
        super().__init__()
        self.calls: list[_Call] = []
        self._num_images = num_images
        self._within: list[tuple[str, nn.Module]] = []
        self._watched: dict[Any, Callable[..., Any]] = {
            F.scaled_dot_product_attention: self._see_fused,
            F.multi_head_attention_forward: self._see_multi_head,
            **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), self._see_softmax),
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Look at what is watched; inside this call nothing is."""
        kwargs = kwargs or {}
        see = self._watched.get(func)
        return func(*args, **kwargs) if see is None else see(func, *args, **kwargs)

    @contextmanager
    def follow(self, model: nn.Module) -> Iterator[None]:
        """Know which module runs."""
        handles = []
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda one, _, path=path: self._within.append((path, one))))
            handles.append(module.register_forward_hook(lambda *_: self._within.pop() and None))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _see_fused(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        self._keep(weigh(*args, **kwargs))
        return func(*args, **kwargs)

    def _see_multi_head(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        out, weights = func(*args, **{**kwargs, "need_weights": True, "average_attn_weights": False})
        self._keep(weights)
        if not kwargs.get("need_weights", True):
            return out, None
        return out, weights.mean(dim=-3) if kwargs.get("average_attn_weights", True) else weights

    def _see_softmax(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        out = func(*args, **kwargs)
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        is_last = out.ndim in (3, 4) and dim in (-1, out.ndim - 1)
        if is_last and out.shape[-2] in (1, out.shape[-1]) and type(self._within[-1][1]).__name__ not in _OVER_CHANNELS:
            self._keep(out)
        return out

    def _keep(self, weights: Tensor) -> None:
        """Those of windows and parts of images, which come as more than the images there are, are left out."""
        if weights.ndim == 3 and weights.shape[0] % self._num_images == 0:
            weights = weights.reshape(self._num_images, -1, *weights.shape[1:])
        if weights.ndim == 4 and weights.shape[0] == self._num_images:
            paths = [path for path, module in self._within if path and not isinstance(module, nn.Softmax)]
            self.calls.append(_Call(paths[-1] if paths else "the network", weights.detach().float().cpu()))


def weigh(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights (..., Q, M) that `scaled_dot_product_attention` of these arguments takes its mean with."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    logits = query.float() @ key.float().transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if attn_mask is not None:
        logits = logits.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else logits + attn_mask
    return logits.softmax(dim=-1)


def _find_grid(num_keys: int, images_BCHW: Tensor, prefix: int | None) -> tuple[int, int, int] | None:
    """(P, H, W) of keys that are a map in the proportions of the image, of at least 2 x 2 places."""
    height, width = images_BCHW.shape[2:]
    known: Iterable[int] = () if prefix is None else (prefix,)
    for first in dict.fromkeys((*known, *range(_MOST_PREFIX + 1))):
        rows = round(((num_keys - first) * height / width) ** 0.5) if num_keys > first else 0
        if rows > 1 and (num_keys - first) % rows == 0:
            columns = (num_keys - first) // rows
            if columns > 1 and abs(rows * width - columns * height) < max(height, width):
                return first, rows, columns
    return None


def _look(call: _Call, grid: tuple[int, int, int], wish: Wish, has_class: bool) -> tuple[str, Maps]:
    """Whose look it is, and its maps: (B, L, H, W)."""
    first, rows, columns = grid
    num_heads, num_queries, num_keys = call.weights.shape[1:]
    for head in wish.heads:
        if not 0 <= head < num_heads:
            raise UserError(f"There is no head {head}: {call.layer} has {num_heads}, numbered from 0.")
    of_class = num_queries == 1 or (first > 0 and has_class and num_queries == num_keys)
    if wish.look == "class-token" and not of_class:
        raise UserError(f"{call.layer} has no class token whose look could be shown. Take --look received.")
    whole = call.weights[:, list(wish.heads)] if wish.heads else call.weights.mean(dim=1, keepdim=True)
    alone = of_class and wish.look != "received"
    row_BLM = whole[:, :, 0] if alone else whole[:, :, first if num_queries == num_keys else 0 :].mean(dim=2)
    maps_BLHW = row_BLM[:, :, first:].reshape(*row_BLM.shape[:2], rows, columns).double().numpy()
    name = "all places" if not alone else "the class token" if first or num_queries > 1 else "the pooling query"
    return name, np.asarray(maps_BLHW / maps_BLHW.sum(axis=(2, 3), keepdims=True))


def _describe(index: int, call: _Call, wish: Wish, look: str, maps_LHW: Maps) -> TokenMaps:
    return TokenMaps(
        module=index,
        tokenizer=look,
        relation="none",
        attention=maps_LHW,
        mixing=None,
        no_mixing=_WITHOUT_RELATION,
        layer=call.layer,
        rows=tuple(f"head {head}" for head in wish.heads)
        or (f"mean of {format_items(call.weights.shape[1], 'head')}",),
    )
