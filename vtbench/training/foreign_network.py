"""Networks that others wrote: weights from the seed, what training asks of them, and what identifies them.

Their weights are those that they draw themselves while they are built, from generators that stand at a state made from
the seed; so one seed gives one network, as it does for the models of this house, which are drawn part by part. Before
training they are tried on two images, forward and backward. The identity is that of what was built, not of what it
is called: the content of the user's file, the parts of the network and the names, kinds and shapes of its tensors.
Another version of a library that builds the same network goes on with a run; it is named in the record's environment.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from vtbench.configuration import Recipe
from vtbench.errors import UserError
from vtbench.profiling.errors import summarize_exception
from vtbench.profiling.subject import kept_randomness
from vtbench.training.strided_convolution import subsample_first

# Dimensions: B images of a batch, C channels (3, RGB), H height, W width, K classes.

_NUM_TRIED = 2
_RATES = {"StochasticDepth": "p", "DropPath": "drop_prob"}
"""The modules of torchvision and timm that drop branches, and where they keep the probability."""


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Let torch, Python and NumPy draw what ``seed`` says inside the block, and go on behind it as if nothing was."""
    start = int.from_bytes(hashlib.blake2b(f"{seed}:network".encode(), digest_size=4).digest(), "little")
    with kept_randomness():
        torch.default_generator.manual_seed(start)
        random.seed(start)
        np.random.seed(start)
        yield


def settle_shapes(model: nn.Module, image_size: tuple[int, int]) -> nn.Module:
    """The model, whose lazy layers, if it has some, take their shapes from a first image."""
    if any(map(is_lazy, model.parameters())):
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, *image_size))
        model.train()
    return model


def regularize_foreign(model: nn.Module, variant: str, recipe: Recipe) -> None:
    """Set the rates of ``recipe`` where it has some; else the network keeps its own.

    Raises ``UserError`` where branches are to be dropped and there are none that can be.
    """
    if recipe.dropout:
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = recipe.dropout
    if not recipe.stochastic_depth:
        return
    branches = [(module, rate) for module in model.modules() if (rate := _RATES.get(type(module).__name__))]
    if not branches:
        raise UserError(
            f"The recipe drops residual branches (stochastic_depth = {recipe.stochastic_depth}), and {variant} was "
            "built with none that can be dropped. Build it with some (timm: drop_path_rate=0.1, torchvision: "
            "stochastic_depth_prob=0.1), or take a recipe without."
        )
    for index, (module, rate) in enumerate(branches, start=1):
        setattr(module, rate, recipe.stochastic_depth * index / len(branches))


def try_network(
    model: nn.Module,
    variant: str,
    *,
    num_classes: int,
    image_size: tuple[int, int],
    channels_last: bool,
    masks: bool = False,
) -> None:
    """Run a network, which is used up, on two images of noise as training does.

    Scores must be (B, K), of ``masks`` (B, K, h, w), and of floating point.

    Raises ``UserError`` for whatever training, evaluation or going on after a stop would stumble over.
    """
    _check_state(model, variant)
    height, width = image_size
    layout = torch.channels_last if channels_last else torch.contiguous_format
    with drawn_from(0), torch.enable_grad():
        images_BCHW = torch.randn(_NUM_TRIED, 3, height, width).contiguous(memory_format=layout)
        model = model.to(memory_format=layout)
        if channels_last:
            subsample_first(model)
        try:
            scores = {"evaluation": model.eval()(images_BCHW)}
            unsaved = _copy_unsaved(model)
            scores["training"] = model.train()(images_BCHW)
            for mode, found in scores.items():
                _check_scores(found, variant, mode, (_NUM_TRIED, num_classes), 4 if masks else 2)
            scores["training"].sum().backward()
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{variant} cannot be trained on images of {height}x{width} pixels: {summarize_exception(error)}. "
                f"{_find_mend(str(error))}"
            ) from error
        for name, value in _copy_unsaved(model).items():
            if not torch.equal(value, unsaved[name]):
                raise UserError(
                    f"{variant} changes its buffer {name!r} in training and does not save it, so that a run that was "
                    "stopped could not go on to the same weights. Register the buffer with persistent=True."
                )


def hash_network(model: nn.Module, code_sha256: str | None) -> str:
    """What identifies the network of a certificate: the user's code, its parts, and names and shapes of its tensors."""
    parts = [[path, type(module).__name__] for path, module in model.named_modules()]
    tensors = [[name, str(value.dtype), list(value.shape)] for name, value in model.state_dict().items()]
    return hashlib.sha256(json.dumps([code_sha256, parts, tensors]).encode()).hexdigest()


def _check_state(model: nn.Module, variant: str) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(f"{variant} has no parameter that can be trained.")
    odd = [name for name, value in model.state_dict().items() if not isinstance(value, Tensor)]
    if odd:
        raise UserError(f"{variant} keeps state that is no tensor, {odd[0]!r}, which cannot be saved. Use a buffer.")


def _check_scores(found: object, variant: str, mode: str, wanted: tuple[int, int], num_dims: int) -> None:
    if isinstance(found, Tensor) and found.shape[:2] == wanted and found.ndim == num_dims and found.is_floating_point():
        return
    gave = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
    mend = "Let it return one tensor of a score for each class."
    if not isinstance(found, Tensor):
        mend = "Build it without auxiliary heads, such as aux_logits=false of torchvision, or let it return one tensor."
    elif found.ndim == num_dims:
        mend = f"Let it take num_classes, which is told {wanted[1]}, the number of classes of the data."
    elif found.ndim == 4:
        mend = (
            "Networks of timm, torchvision and files are trained to classify; vtbench list has some for segmentation."
        )
    also = " with height and width" if num_dims == 4 else ""
    raise UserError(f"{variant} gives {gave} in {mode} for {_NUM_TRIED} images, and {wanted}{also} is needed. {mend}")


def _copy_unsaved(model: nn.Module) -> dict[str, Tensor]:
    """The buffers that no state dict holds."""
    saved = model.state_dict().keys()
    return {name: value.detach().clone() for name, value in model.named_buffers() if name not in saved}


def _find_mend(text: str) -> str:
    if "view size is not compatible" in text:
        return "Write reshape() or flatten() instead of view(), or train it with --no-channels-last."
    if re.search(r"size|shape|dimension|kernel|resolution|match", text, re.IGNORECASE):
        return "Give another --image-size, or options that make the network for this one (timm: img_size, patch_size)."
    return "Run it on such images by itself to see more."
