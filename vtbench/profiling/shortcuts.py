"""Results of frequent operators on the meta device without torch's own, much slower, computation of their shapes.

Torch derives the result of, say, a convolution without values in Python, and the first such operator imports its whole
compiler (over a second, 50 MiB). Here it is one allocation of nothing. Only plain cases are answered: tensors that are
contiguous, of one type, and of shapes that fit; all others are left to torch, which also raises the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

NOT_PLAIN = object()
"""The answer to a case that torch must work out itself."""

Shortcut = Callable[[Sequence[Any]], Any]


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Base of the modes that see every operator, without what torch adds for its compiler."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from wrapping the subclass for its compiler: that imports all of it, in over a second."""
        return False


class Shortcuts(DispatchMode):  # type: ignore[no-untyped-call]
    """Takes the shortcuts while active, and changes nothing else."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer one operator."""
        kwargs = kwargs or {}
        out = take_shortcut(_BY_IDENTITY.get(id(func)), args, kwargs)
        return func(*args, **kwargs) if out is NOT_PLAIN else out


def take_shortcut(shortcut: Shortcut | None, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of an operator, or `NOT_PLAIN`. Keyword arguments that may change its shape are left to torch."""
    if shortcut is None:
        return NOT_PLAIN
    if kwargs and any(value is not None and name != "approximate" for name, value in kwargs.items()):
        return NOT_PLAIN
    return shortcut(args)


def _is_plain(*tensors: Any) -> bool:
    """Whether all are contiguous floating-point tensors of one type on the meta device."""
    first = tensors[0]
    return all(
        isinstance(tensor, Tensor) and tensor.is_meta and tensor.is_contiguous() and tensor.dtype is first.dtype
        for tensor in tensors
    ) and bool(first.is_floating_point())


def _allocate(shape: Sequence[int], like: Tensor) -> Tensor:
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device)


def _allocate_like(source: Tensor) -> Any:
    """What an elementwise operator gives: dense, with the dimensions in the order of the strides of ``source``."""
    if source.is_contiguous():
        return _allocate(source.shape, source)
    strides = source.stride()
    known = [stride for stride, size in zip(strides, source.shape, strict=True) if size != 1]
    if len(set(known)) < len(known) or 0 in known or 0 in source.shape:
        return NOT_PLAIN  # The order depends on more than the strides.
    dense, expected = [0] * len(strides), 1
    for dim in sorted(range(len(strides)), key=lambda dim: (strides[dim], -dim)):
        dense[dim] = expected
        expected *= source.shape[dim]
    return torch.empty_strided(source.shape, dense, dtype=source.dtype, device=source.device)


def _same(args: Sequence[Any]) -> Any:
    """Elementwise in one tensor."""
    source = args[0]
    return _allocate_like(source) if source.is_meta and source.is_floating_point() else NOT_PLAIN


def _fill(args: Sequence[Any]) -> Any:
    """Filling a tensor that has no values changes nothing."""
    return args[0] if args[0].is_meta else NOT_PLAIN


def _change(args: Sequence[Any]) -> Any:
    """Elementwise in one tensor, in place."""
    return args[0] if args[0].is_meta and args[0].is_floating_point() else NOT_PLAIN


def _combine(args: Sequence[Any]) -> Any:
    """Elementwise in two tensors, or in one and a number."""
    left, right = args[0], args[1]
    if not isinstance(right, Tensor):
        return _same(args) if isinstance(right, (int, float)) else NOT_PLAIN
    if not (left.is_meta and right.is_meta and left.dtype is right.dtype):
        return NOT_PLAIN
    shape = left.shape if left.shape == right.shape else _broadcast(left.shape, right.shape)
    if shape == left.shape:
        return _same(args)  # The layout of the result is that of the first.
    return _allocate(shape, left) if shape is not None and _is_plain(left, right) else NOT_PLAIN


def _combine_in_place(args: Sequence[Any]) -> Any:
    target, other = args[0], args[1]
    if not isinstance(other, Tensor):
        return target if target.is_meta and (target.is_floating_point() or isinstance(other, int)) else NOT_PLAIN
    plain = target.is_meta and other.is_meta and target.dtype is other.dtype
    return target if plain and _broadcast(target.shape, other.shape) == tuple(target.shape) else NOT_PLAIN


def _broadcast(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that two shapes broadcast to; None where they do not."""
    longer, shorter = (left, right) if len(left) >= len(right) else (right, left)
    padded = (1,) * (len(longer) - len(shorter)) + tuple(shorter)
    if any(a != b and a != 1 and b != 1 for a, b in zip(longer, padded, strict=True)):
        return None
    return tuple(b if a == 1 else a for a, b in zip(longer, padded, strict=True))


def _batch_norm(args: Sequence[Any]) -> Any:
    source, weight, training = args[0], args[1], args[5]
    if not source.is_meta or (weight is not None and weight.dtype is not source.dtype):
        return NOT_PLAIN
    if source.dim() < 2 or (weight is not None and weight.shape != source.shape[1:2]):
        return NOT_PLAIN
    out = _allocate_like(source)
    statistics = (source.shape[1] if training else 0,)
    return NOT_PLAIN if out is NOT_PLAIN else (out, _allocate(statistics, source), _allocate(statistics, source))


def _layer_norm(args: Sequence[Any]) -> Any:
    source, normalized, weight = args[0], tuple(args[1]), args[2]
    plain = source.is_meta and source.is_floating_point() and (weight is None or weight.dtype is source.dtype)
    if not plain or tuple(source.shape[-len(normalized) :]) != normalized:
        return NOT_PLAIN
    statistics = (*source.shape[: -len(normalized)], *(1 for _ in normalized))
    return _allocate(source.shape, source), _allocate(statistics, source), _allocate(statistics, source)


def _group_norm(args: Sequence[Any]) -> Any:
    source, weight, bias, batch, _, _, groups = args[:7]
    scales = tuple(value for value in (weight, bias) if value is not None)
    fits = source.dim() > 1 and all(value.shape == source.shape[1:2] for value in scales)
    if not fits or not _is_plain(source, *scales) or source.shape[1] % groups or 0 in source.shape:
        return NOT_PLAIN
    return _allocate(source.shape, source), _allocate((batch, groups), source), _allocate((batch, groups), source)


def _product(args: Sequence[Any]) -> Any:
    """``mm`` and ``bmm``: the factors may be transposed, the result is contiguous."""
    left, right = args[0], args[1]
    plain = left.is_meta and right.is_meta and left.dtype is right.dtype and left.is_floating_point()
    fits = left.dim() == right.dim() and left.shape[-1] == right.shape[-2] and left.shape[:-2] == right.shape[:-2]
    return _allocate((*left.shape[:-1], right.shape[-1]), left) if plain and fits else NOT_PLAIN


def _addmm(args: Sequence[Any]) -> Any:
    bias = args[0]
    fits = bias.is_meta and bias.dtype is args[1].dtype and bias.shape == args[2].shape[1:]
    return _product(args[1:3]) if fits else NOT_PLAIN


def _softmax(args: Sequence[Any]) -> Any:
    half_to_float = len(args) > 2 and args[2] is True
    return NOT_PLAIN if half_to_float else _same(args)


def _mean(args: Sequence[Any]) -> Any:
    source, dims = args[0], args[1]
    plain = source.is_meta and source.is_floating_point()
    if not plain or not dims or any(not -source.dim() <= dim < source.dim() for dim in dims):
        return NOT_PLAIN
    reduced = {dim % source.dim() for dim in dims}
    keep = len(args) > 2 and bool(args[2])
    shape = (1 if dim in reduced else size for dim, size in enumerate(source.shape) if keep or dim not in reduced)
    return _allocate(tuple(shape), source)


def _vector_norm(args: Sequence[Any]) -> Any:
    """``linalg_vector_norm`` along given dimensions."""
    typed = len(args) > 4 and args[4] is not None
    return NOT_PLAIN if typed or len(args) < 3 or args[2] is None else _mean((args[0], *args[2:4]))


def _resize(args: Sequence[Any]) -> Any:
    """Interpolation and adaptive pooling of a map that is laid out in one of the two usual ways."""
    source, sides = args[0], args[1]
    if source.dim() != 4 or not source.is_meta or not source.is_floating_point() or min(*sides, *source.shape) < 1:
        return NOT_PLAIN
    for layout in (torch.contiguous_format, torch.channels_last):
        if source.is_contiguous(memory_format=layout):
            shape = (*source.shape[:2], *sides)
            return torch.empty(shape, dtype=source.dtype, device=source.device, memory_format=layout)
    return NOT_PLAIN


def _join(args: Sequence[Any]) -> Any:
    """``cat``."""
    tensors, dim = list(args[0]), args[1] if len(args) > 1 else 0
    if not tensors or not _are_joinable(tensors) or not -tensors[0].dim() <= dim < tensors[0].dim():
        return NOT_PLAIN
    axis = dim % tensors[0].dim()
    others = {(*tensor.shape[:axis], *tensor.shape[axis + 1 :]) for tensor in tensors}
    if len(others) != 1:
        return NOT_PLAIN
    total = sum(int(tensor.shape[axis]) for tensor in tensors)
    shape = tensors[0].shape
    return _allocate((*shape[:axis], total, *shape[axis + 1 :]), tensors[0])


def _are_joinable(tensors: Sequence[Any]) -> bool:
    """Images may be laid out channels-last together; all else comes out contiguous."""
    first = tensors[0]
    alike = all(one.is_meta and one.dtype is first.dtype and one.dim() == first.dim() for one in tensors)
    return alike and (first.dim() < 4 or not any(map(_may_be_channels_last, tensors)))


def _may_be_channels_last(tensor: Tensor) -> bool:
    return not tensor.is_contiguous() and tensor.stride(1) * tensor.shape[1] <= tensor.stride(-1)


def _pile(args: Sequence[Any]) -> Any:
    """``stack`` of tensors of one shape and laid out alike, which comes out contiguous."""
    tensors, dim = list(args[0]), args[1] if len(args) > 1 else 0
    num_dims = tensors[0].dim() + 1 if tensors else 0
    if (
        not -num_dims <= dim < num_dims
        or any(one.shape != tensors[0].shape for one in tensors)
        or not _is_plain(*tensors)
    ):
        return NOT_PLAIN
    shape = tensors[0].shape
    return _allocate((*shape[: dim % num_dims], len(tensors), *shape[dim % num_dims :]), tensors[0])


def _convolution(args: Sequence[Any]) -> Any:
    source, weight, bias, stride, padding, dilation, transposed, _, groups = args[:9]
    if transposed or not _is_plain(weight, *(() if bias is None else (bias,))):
        return NOT_PLAIN
    if not source.is_meta or source.dtype is not weight.dtype or not (source.dim() == 3 or source.is_contiguous()):
        return NOT_PLAIN  # The result of a convolution of maps is laid out as they are, that of sequences never.
    num_sides = weight.dim() - 2
    if source.dim() != weight.dim() or source.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        return NOT_PLAIN
    sides = [
        (size + 2 * pad - gap * (kernel - 1) - 1) // step + 1
        for size, pad, gap, kernel, step in zip(
            source.shape[2:],
            _spread(padding, num_sides),
            _spread(dilation, num_sides),
            weight.shape[2:],
            _spread(stride, num_sides),
            strict=True,
        )
    ]
    if min(sides) < 1 or 0 in source.shape:
        return NOT_PLAIN
    return _allocate((source.shape[0], weight.shape[0], *sides), source)


def _max_pool(args: Sequence[Any]) -> Any:
    """``max_pool2d_with_indices`` without dilation."""
    source, dilated = args[0], len(args) > 4 and _spread(args[4], 2) != (1, 1)
    if dilated or source.dim() != 4 or not _is_plain(source):
        return NOT_PLAIN
    sides = _pool(source, *args[1:4], round_up=len(args) > 5 and bool(args[5]))
    if sides is None:
        return NOT_PLAIN
    shape = (*source.shape[:2], *sides)
    return _allocate(shape, source), torch.empty(shape, dtype=torch.int64, device=source.device)


def _average_pool(args: Sequence[Any]) -> Any:
    """``avg_pool2d``."""
    source = args[0]
    sides = _pool(source, *args[1:4], round_up=len(args) > 4 and bool(args[4])) if source.dim() == 4 else None
    return NOT_PLAIN if sides is None else _resize((source, sides))


def _pool(source: Tensor, kernel: Any, stride: Any = None, padding: Any = 0, *, round_up: bool) -> list[int] | None:
    """Height and width of pooled maps; None for what torch does not take."""
    windows, pads = _spread(kernel, 2), _spread(padding, 2)
    steps = _spread(stride, 2) if stride else windows
    sides = []
    for size, pad, window, step in zip(source.shape[2:], pads, windows, steps, strict=True):
        side = (size + 2 * pad - window + (step - 1 if round_up else 0)) // step + 1
        if (side - 1) * step >= size + pad:  # The last window must begin inside the image or its left padding.
            side -= 1
        sides.append(side)
    fits = min(sides) > 0 and all(2 * pad <= window for pad, window in zip(pads, windows, strict=True))
    return sides if fits else None


def _spread(value: Any, num_sides: int) -> tuple[int, ...]:
    """One number for each side of an image; torch lets one stand for all."""
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return numbers * num_sides if len(numbers) == 1 else numbers


_NAMES: dict[Shortcut, str] = {
    _same: """relu.default silu.default gelu.default sigmoid.default hardswish.default hardsigmoid.default tanh.default
        hardtanh.default mul.Scalar add.Scalar _safe_softmax.default clamp.default clamp_min.default neg.default
        exp.default sqrt.default rsqrt.default sin.default cos.default abs.default pow.Tensor_Scalar""",
    _change: """clamp_.default clamp_min_.default erfinv_.default hardswish_.default hardsigmoid_.default
        hardtanh_.default silu_.default relu_.default sigmoid_.default tanh_.default leaky_relu_.default""",
    _fill: "normal_.default uniform_.default zero_.default fill_.Scalar",
    _combine: "add.Tensor sub.Tensor mul.Tensor div.Tensor",
    _combine_in_place: "add_.Tensor sub_.Tensor mul_.Tensor div_.Tensor",
    _batch_norm: "native_batch_norm.default",
    _layer_norm: "native_layer_norm.default",
    _group_norm: "native_group_norm.default",
    _product: "mm.default bmm.default",
    _addmm: "addmm.default",
    _softmax: "_softmax.default",
    _mean: "mean.dim",
    _vector_norm: "linalg_vector_norm.default",
    _resize: "upsample_bilinear2d.default upsample_bicubic2d.default _adaptive_avg_pool2d.default",
    _join: "cat.default",
    _pile: "stack.default",
    _convolution: "convolution.default",
    _average_pool: "avg_pool2d.default",
    _max_pool: "max_pool2d_with_indices.default",
}

SHORTCUTS: dict[Any, Shortcut] = {
    getattr(getattr(torch.ops.aten, packet), overload): shortcut
    for shortcut, names in _NAMES.items()
    for packet, _, overload in (name.partition(".") for name in names.split())
}
"""Operator -> its shortcut, given the positional arguments."""
_BY_IDENTITY = {id(operator): shortcut for operator, shortcut in SHORTCUTS.items()}
"""The same; operators live as long as torch, and compute their hash in Python."""
