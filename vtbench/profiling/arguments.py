"""Inputs that are not one image: frames, second images, tokens, dictionaries and lists."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from vtbench.errors import UserError, did_you_mean
from vtbench.input_shapes import InputSpec
from vtbench.profiling.inputs import find_dtype, make_inputs, make_tensor


@dataclass(frozen=True)
class Arguments:
    """What ``forward`` is called with."""

    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    def call(self, model: nn.Module) -> Any:
        """Run the model."""
        return model(*self.positional, **self.named)

    def list_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor and where it stands: ``image``, ``batch.image`` or ``0`` for the first that has no name."""
        parts: tuple[Any, ...] = (self.positional, self.named)
        for part in parts:
            yield from _walk(part, "")


def make_arguments(given: Any, model: nn.Module, device: torch.device, *, seed: int = 0) -> Arguments:
    """What to call ``model`` with: from a shape, `InputSpec`s, or the user's own arguments, copied to ``device``.

    Numbers are drawn from ``seed``; a user's tensors keep their values for seed 0 and are drawn anew for others.
    """
    if isinstance(given, tuple) and given and all(isinstance(one, InputSpec) for one in given):
        return _arrange([(spec.path, _fill(spec, model, device, seed)) for spec in given], model)
    if isinstance(given, tuple):
        return Arguments(make_inputs(given, model, device, seed=seed))
    own = Arguments(named=given) if isinstance(given, Mapping) else Arguments(tuple(given))

    def take(tensor: Tensor) -> Tensor:
        if seed and tensor.is_floating_point() and device.type != "meta":
            return make_tensor(tuple(tensor.shape), tensor.dtype, device, seed=seed)
        return tensor.detach().to(device)

    return Arguments(*(tree_map_only(Tensor, take, part) for part in (own.positional, dict(own.named))))


def count_numbers(given: Any) -> int:
    """Numbers in the largest tensor that is to be made; 0 where the user made it."""
    shapes = [one.shape if isinstance(one, InputSpec) else (one,) for one in given] if isinstance(given, tuple) else []
    if given and isinstance(given, tuple) and isinstance(given[0], int):
        shapes = [given]
    return max((_multiply(shape) for shape in shapes), default=0)


def describe_given(given: Any) -> str:
    """What a model was given, for messages."""
    if isinstance(given, tuple) and given and isinstance(given[0], InputSpec):
        return " and ".join(
            ("".join(f"{part}." for part in spec.path)[:-1] + " " + "x".join(map(str, spec.shape))).strip()
            for spec in given
        )
    return "x".join(map(str, given)) if isinstance(given, tuple) else "the given arguments"


def list_parameters(model: nn.Module) -> tuple[list[str], bool]:
    """The names of the arguments of ``forward``, those that it needs first, and whether it takes any others."""
    try:
        signature = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return [], True
    parameters = [one for one in signature if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    needed = [one.name for one in parameters if one.default is one.empty]
    names = [*needed, *(one.name for one in parameters if one.default is not one.empty)]
    return names, len(parameters) < len(signature)


def _multiply(shape: Sequence[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total


def _fill(spec: InputSpec, model: nn.Module, device: torch.device, seed: int) -> Tensor:
    """Numbers for one input. Integers are ones, which every vocabulary has; other seeds draw zeros and ones."""
    dtype: torch.dtype = find_dtype(model) if spec.dtype is None else getattr(torch, spec.dtype)
    if dtype.is_floating_point:
        return make_tensor(spec.shape, dtype, device, seed=seed)
    if seed == 0 or device.type == "meta":
        return torch.ones(spec.shape, dtype=dtype, device=device)
    drawn = torch.randint(2, spec.shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(device=device, dtype=dtype)


def _arrange(tensors: Sequence[tuple[tuple[str, ...], Tensor]], model: nn.Module) -> Arguments:
    positional = tuple(tensor for path, tensor in tensors if not path)
    named: dict[str, Any] = {}
    allowed, is_open = list_parameters(model)
    for path, tensor in tensors:
        if not path:
            continue
        if not is_open and path[0] not in allowed:
            raise UserError(
                f"forward of {type(model).__name__} has no argument {path[0]!r}. {did_you_mean(path[0], allowed)} A "
                f"place in a dictionary is written ARGUMENT.{path[0]}=SHAPE."
            )
        place = named
        for part in path[:-1]:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise UserError(f"The input {'.'.join(path)!r} lies within one that is a tensor itself.")
        if path[-1] in place:
            raise UserError(f"The input {'.'.join(path)!r} is given twice.")
        place[path[-1]] = tensor
    return Arguments(positional, {name: _as_lists(value) for name, value in named.items()})


def _as_lists(value: Any) -> Any:
    """Dictionaries whose keys are 0, 1, ... are lists."""
    if not isinstance(value, dict):
        return value
    parts = {name: _as_lists(part) for name, part in value.items()}
    if all(name.isdecimal() for name in parts):
        return [parts[name] for name in sorted(parts, key=int)]
    return parts


def _walk(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _walk(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (tuple, list)):
        for place, part in enumerate(value):
            yield from _walk(part, f"{path}.{place}" if path else str(place))
