"""Method B: what the layers of torch cost, as arithmetic on their attributes and the shapes that they were given.

Written from the definitions of the layers, not from the operators that run. A form describes a layer's own work; a
layer of a subclass that overrides ``forward`` is another layer, unless it is listed in `closed_forms_foreign`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import nn

Shape = tuple[int, ...]
ClosedForm = Callable[[Any, tuple[Shape, ...], tuple[Shape, ...]], int]
"""(module, input shapes, output shapes) -> MACs of one call for the whole batch."""


def state_linear(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Every vector of in_features meets out_features rows."""
    return prod(inputs[0][:-1]) * int(module.in_features) * int(module.out_features)


def state_convolution(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Each output value sums the taps of one filter over the channels of its group."""
    filter_size = prod(module.kernel_size) * (module.in_channels // module.groups)
    return int(prod(outputs[0]) * filter_size)


def state_transposed_convolution(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Each input value is spread with one filter over the channels of its group."""
    filter_size = prod(module.kernel_size) * (module.out_channels // module.groups)
    return int(prod(inputs[0]) * filter_size)


def state_bilinear(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """x1 W for each output, then the inner product with x2."""
    vectors = prod(inputs[0][:-1])
    return vectors * int(module.out_features) * int(module.in2_features) * (int(module.in1_features) + 1)


def state_multihead_attention(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """Projections of L queries and S keys and values, the two products of attention, the output projection."""
    query, key = inputs[0], inputs[1]
    if len(query) == 2:
        batch, num_queries, num_keys = 1, query[0], key[0]
    elif module.batch_first:
        batch, num_queries, num_keys = query[0], query[1], key[1]
    else:
        batch, num_queries, num_keys = query[1], query[0], key[0]
    dim = int(module.embed_dim)
    attended = num_keys + (module.bias_k is not None) + bool(module.add_zero_attn)
    projections = 2 * num_queries * dim * dim + num_keys * dim * (int(module.kdim) + int(module.vdim))
    return batch * (projections + 2 * num_queries * attended * dim)


def state_recurrent(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """LSTM, GRU and RNN: gates x hidden x (input + recurrent) per step, layer and direction, plus LSTM's projection."""
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    directions = 2 if module.bidirectional else 1
    hidden, projection = int(module.hidden_size), int(getattr(module, "proj_size", 0))
    returned = projection or hidden
    per_step = 0
    for layer in range(module.num_layers):
        width = module.input_size if layer == 0 else directions * returned
        per_step += directions * (gates * hidden * (width + returned) + projection * hidden)
    return prod(inputs[0][:-1]) * per_step


def state_recurrent_cell(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """One step of a recurrent layer."""
    gates = int(module.weight_ih.shape[0]) // int(module.hidden_size)
    return prod(inputs[0][:-1]) * gates * int(module.hidden_size) * int(module.input_size + module.hidden_size)


def state_nothing(module: Any, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> int:
    """A layer without multiply-accumulates."""
    return 0


FORMS: dict[type[nn.Module], ClosedForm] = {
    nn.Linear: state_linear,
    nn.modules.linear.NonDynamicallyQuantizableLinear: state_linear,
    nn.Conv1d: state_convolution,
    nn.Conv2d: state_convolution,
    nn.Conv3d: state_convolution,
    nn.ConvTranspose1d: state_transposed_convolution,
    nn.ConvTranspose2d: state_transposed_convolution,
    nn.ConvTranspose3d: state_transposed_convolution,
    nn.Bilinear: state_bilinear,
    nn.MultiheadAttention: state_multihead_attention,
    nn.LSTM: state_recurrent,
    nn.GRU: state_recurrent,
    nn.RNN: state_recurrent,
    nn.LSTMCell: state_recurrent_cell,
    nn.GRUCell: state_recurrent_cell,
    nn.RNNCell: state_recurrent_cell,
    nn.Embedding: state_nothing,
}
"""Layers of torch and their closed forms."""


def find_form(module: nn.Module) -> ClosedForm | None:
    """The closed form of a layer's own work: of its class, or of a base class whose ``forward`` it keeps."""
    if "forward" in vars(module):
        return None
    forward = getattr(type(module), "forward", None)
    for kind in type(module).__mro__:
        form = FORMS.get(kind)
        if form is not None:
            return form if forward is getattr(kind, "forward", None) else None
    return None
