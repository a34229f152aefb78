"""Modules that torch runs in unusual ways: scripted, traced, compiled, checkpointed, reparametrised, hooked."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vtbench.profiling import profile
from vtbench.profiling.errors import ProfileError
from vtbench.records import NotMeasured

COST = 64 * 12


def conv() -> nn.Conv2d:
    return nn.Conv2d(3, 4, 1)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_scripted_and_traced_modules_cost_what_they_were_made_from() -> None:
    network = torchvision.models.resnet18().eval()
    expected = profile(network, 32, activations=False).macs
    scripted = profile(torch.jit.script(network), 32, activations=False)
    assert (scripted.macs, scripted.traced_on) == (expected, "cpu")
    assert profile(torch.jit.trace(conv().eval(), torch.zeros(1, 3, 8, 8)), 8, activations=False).macs == COST
    assert profile(torch.fx.symbolic_trace(network), 32, activations=False).macs == expected


def test_compiled_parts_cost_what_they_were_made_from() -> None:
    model = nn.Sequential(torch.compile(conv()), nn.ReLU())
    assert profile(model, 8, activations=False).macs == COST


def test_activations_that_are_computed_again_are_counted_in_the_backward_pass() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.part = conv(), nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1))

        def forward(self, images_BCHW: Tensor) -> Tensor:
            return checkpoint(self.part, self.stem(images_BCHW), use_reentrant=False)  # type: ignore[no-any-return]

    step = profile(Checkpointed(), 8, backward=True).training
    assert step is not None
    assert not isinstance(step, NotMeasured)
    layer = 64 * 16
    assert step.forward_macs == COST + 2 * layer
    # Of the part only the first layer runs again: torch stops when the input of the second is there.
    assert step.backward_macs == COST + 2 * (2 * layer) + layer


def test_a_reparametrised_layer_costs_its_layer_and_the_work_on_its_weight() -> None:
    """Spectral norm, 2 power iterations' worth of products with the 4 x 3 weight: one each way, and one for sigma."""
    from torch.nn.utils.parametrizations import spectral_norm, weight_norm

    assert profile(weight_norm(conv()), 8, activations=False).macs == COST
    trained = profile(spectral_norm(conv()), 8, training=True, activations=False)
    assert trained.macs == COST + 12 + 12 + 12 + 4
    assert trained.covered_macs == COST


def test_what_the_hooks_of_a_layer_do_is_not_taken_for_the_layer() -> None:
    layer = conv()
    layer.register_forward_hook(lambda module, args, output: output + torch.matmul(output, output.mT).mean())
    counted = profile(nn.Sequential(layer), 8, activations=False)
    assert counted.macs == COST + 4 * 8 * 8 * 8
    assert counted.covered_macs == COST


def test_padded_sequences_cost_their_padding_in_evaluation_as_in_training() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

        def forward(self, tokens_BLC: Tensor) -> Tensor:
            mask_BL = torch.zeros(tokens_BLC.shape[:2], dtype=torch.bool, device=tokens_BLC.device)
            return self.encoder(tokens_BLC, src_key_padding_mask=mask_BL)  # type: ignore[no-any-return]

    layer = 2 * (4 * 5 * 64 + 2 * 25 * 8 + 2 * 5 * 8 * 16)
    before = torch.backends.mha.get_fastpath_enabled()
    for training in (False, True):
        counted = profile(Padded(), inputs=[torch.zeros(2, 5, 8)], training=training, activations=False)
        assert counted.macs == 2 * layer
    assert torch.backends.mha.get_fastpath_enabled() is before


def test_half_precision_and_channels_last_change_bytes_and_not_macs() -> None:
    network = nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    plain = profile(network, 8, backward=True)
    last = profile(network.to(memory_format=torch.channels_last), 8, backward=True)
    half = profile(network.bfloat16(), 8)
    assert plain.macs == last.macs == half.macs == COST
    assert plain.training == last.training
    for kept in (plain.activations, last.activations, half.activations):
        assert not isinstance(kept, NotMeasured)
    assert plain.activations == last.activations
    assert half.parameters.bytes_by_dtype["bfloat16"] * 2 == plain.parameters.bytes_by_dtype["float32"]


def test_a_module_without_forward_is_refused_with_the_cause() -> None:
    with pytest.raises(ProfileError, match='missing the required "forward" function'):
        profile(nn.Module(), 8)


def test_a_cost_that_cannot_be_stated_for_the_shapes_is_named() -> None:
    class Confused(nn.Conv2d):
        def expected_macs(self, first: tuple[int, ...], second: tuple[int, ...]) -> int:
            return 0

    with pytest.raises(ProfileError, match=r"0 \(Confused\) cannot state its cost for inputs of \(1, 3, 8, 8\)"):
        profile(nn.Sequential(Confused(3, 4, 1)), 8)


def test_inputs_passed_by_name_reach_the_closed_form_in_the_order_of_the_signature() -> None:
    class Both(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return left @ right

        def expected_macs(self, left: tuple[int, ...], right: tuple[int, ...]) -> int:
            return left[0] * left[1] * right[1]

    class Calling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.both = Both()

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.both(right=right, left=left)  # type: ignore[no-any-return]

    assert profile(Calling(), inputs=[torch.zeros(2, 3), torch.zeros(3, 5)]).covered_macs == 30


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


@pytest.mark.parametrize("kind", [Pair, lambda left, right: {"left": left, "right": right}])
def test_tensors_inside_a_named_tuple_or_a_dictionary_need_no_values(kind: Callable[[Tensor, Tensor], Any]) -> None:
    class Summing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 4)

        def forward(self, pair: Any) -> Tensor:
            left, right = pair if isinstance(pair, Pair) else pair.values()
            return self.dense(left) + self.dense(right)

    counted = profile(Summing(), inputs=(kind(torch.ones(2, 4), torch.ones(2, 4)),))
    assert (counted.macs, counted.traced_on) == (2 * 2 * 4 * 4, "meta")
