"""What goes into a model: the shape of its images, and tensors that carry a shape only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from vtbench.errors import UserError
from vtbench.input_shapes import check_image_size
from vtbench.mistakes import read_whole

DEFAULT_SIZE = (224, 224)
InputSize = int | Sequence[int]


def resolve_input_shape(size: InputSize, *, channels: int = 3, batch_size: int = 1) -> tuple[int, ...]:
    """(B, C, H, W) from a side, (H, W), (C, H, W) or (B, C, H, W). Raises ``UserError`` for other sizes."""
    sides: Any = size if read_whole(size) is None else (size, size)
    numbers = [read_whole(side) for side in sides] if isinstance(sides, Iterable) else []
    given = () if None in numbers else tuple(number for number in numbers if number is not None)
    shape = {2: (batch_size, channels), 3: (batch_size,), 4: ()}.get(len(given))
    if shape is None:
        raise UserError(
            f"The input size {size!r} has {len(given) or 'no'} whole numbers. Give a side, (height, width), "
            "(channels, height, width) or (batch, channels, height, width)."
        )
    full = (*shape, *given)
    check_image_size(full[2], full[3])
    if full[0] < 1 or full[1] < 1:
        raise UserError(f"The input shape {full} has no images or no channels. Both must be at least 1.")
    return full


def find_dtype(model: nn.Module) -> torch.dtype:
    """The floating type of the first parameter or buffer that has one, else float32."""
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float32


def make_inputs(given: Any, model: nn.Module, device: torch.device, *, seed: int = 0) -> tuple[Any, ...]:
    """Inputs for ``model`` on ``device``: from a shape, or copies of given tensors without (meta) or with values."""
    if isinstance(given, tuple) and given and all(isinstance(side, int) for side in given):
        return (make_tensor(given, find_dtype(model), device, seed=seed),)
    arguments = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    return tree_map_only(Tensor, lambda tensor: tensor.detach().to(device), arguments)  # type: ignore[no-any-return]


def make_tensor(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, *, seed: int = 0) -> Tensor:
    """Numbers of a normal distribution, or none on the meta device."""
    if device.type == "meta":
        return torch.empty(shape, dtype=dtype, device=device)
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(device=device, dtype=dtype)
