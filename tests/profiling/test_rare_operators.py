"""Operators that few models run, and their gradients: counted to the last MAC, or refused by name in every format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import register_flop_formula
from torchvision.ops import DeformConv2d
from typer.testing import CliRunner

from vtbench.cli.main import app
from vtbench.profiling import profile
from vtbench.profiling.errors import RefusedOperatorError
from vtbench.profiling.free_operators import find_reason_free
from vtbench.records import NotMeasured
from vtbench.records.profile import Profile, TrainingCost


def count_step(model: nn.Module, inputs: list[Tensor]) -> TrainingCost:
    step = profile(model, inputs=inputs, backward=True).training
    assert isinstance(step, TrainingCost), step
    return step


def test_the_gradients_of_a_deformable_convolution_are_two_products_more() -> None:
    """Offsets: 64 cells x 18 x 9 taps x 4 channels; then 64 x 6 filters of 9 taps x 2 channels, in 2 groups."""

    class Deformed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.offset, self.conv = nn.Conv2d(4, 18, 3, padding=1), DeformConv2d(4, 6, 3, padding=1, groups=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x, self.offset(x))  # type: ignore[no-any-return]

    offset, conv = 64 * 18 * 9 * 4, 64 * 6 * 9 * 2
    assert count_step(Deformed(), [torch.zeros(1, 4, 8, 8)]) == TrainingCost(
        forward_macs=offset + conv, backward_macs=offset + 2 * conv
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_each_gradient_of_a_bilinear_layer_is_a_product_of_the_two_other_factors(batch: int) -> None:
    """6 x 7 inputs to 5 outputs: the table meets one factor, 5 x 6 x 7 MACs, and the result another."""
    layer, table = nn.Bilinear(6, 7, 5), 5 * 6 * 7
    images = [torch.zeros(batch, 6, requires_grad=True), torch.zeros(batch, 7, requires_grad=True)]

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.layer = nn.Linear(6, 6, bias=False), nn.Linear(7, 7, bias=False), layer

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return self.layer(self.left(left), self.right(right))  # type: ignore[no-any-return]

    linear = 36 + 49
    step = count_step(Both(), images)
    assert step.forward_macs == batch * (linear + table + 5 * 7)
    for_left, for_right, for_table = table + 6 * 7, table + 5 * 7, 6 * 5 + table
    assert step.backward_macs == batch * (linear + for_left + for_right + for_table)


@pytest.mark.parametrize("rows", [4, 40])
def test_distances_have_gradients_whichever_way_torch_computes_them(rows: int) -> None:
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.prototypes = nn.Linear(3, 3, bias=False), nn.Parameter(torch.zeros(rows, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.cdist(self.layer(x), self.prototypes)

    step = count_step(Prototypes(), [torch.zeros(rows, 3)])
    layer, pairs = rows * 9, rows * rows * 3
    exact = TrainingCost(forward_macs=layer + pairs, backward_macs=layer + 2 * pairs)
    assert step == exact if rows == 4 else step.backward_macs >= exact.backward_macs


@torch.library.custom_op("rare::product", mutates_args=())
def product(x: Tensor, w: Tensor) -> Tensor:
    return x @ w


@torch.library.custom_op("rare::product_back", mutates_args=())
def product_back(g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return g @ w.T, x.T @ g


product.register_fake(lambda x, w: x.new_empty(x.shape[0], w.shape[1]))
product_back.register_fake(lambda g, x, w: (torch.empty_like(x), torch.empty_like(w)))
product.register_autograd(
    lambda ctx, g: product_back(g, *ctx.saved_tensors),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


def test_the_gradient_of_a_custom_operator_is_refused_by_name_and_counted_with_its_formula() -> None:

    register_flop_formula(torch.ops.rare.product)(lambda x, w, **_: 2 * x[0] * x[1] * w[1])

    class Custom(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.weight = nn.Linear(3, 4, bias=False), nn.Parameter(torch.zeros(4, 5))

        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.rare.product(self.layer(x), self.weight)  # type: ignore[no-any-return]

    refused = profile(Custom(), inputs=[torch.zeros(2, 3)], backward=True).training
    assert isinstance(refused, NotMeasured)
    assert "rare::product_back on 2x5, 2x4, 4x5" in refused.reason
    assert "register_flop_formula" in refused.reason
    register_flop_formula(torch.ops.rare.product_back)(lambda g, x, w, **_: 4 * x[0] * x[1] * w[1])
    assert count_step(Custom(), [torch.zeros(2, 3)]).backward_macs == 2 * 12 + 2 * 40


def test_a_step_that_is_not_counted_is_explained_in_every_format(tmp_path: Path) -> None:
    file = tmp_path / "spectral.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "class Back(torch.autograd.Function):\n"
        "    forward = staticmethod(lambda context, x: x.clone())\n"
        "    backward = staticmethod(lambda context, gradient: torch.fft.fft(gradient).real)\n"
        "class Model(nn.Conv2d):\n"
        "    def __init__(self):\n        super().__init__(3, 4, 1)\n"
        "    def forward(self, x):\n        return Back.apply(super().forward(x))\n",
        encoding="utf-8",
    )
    reason = "the backward pass runs the operator aten::_fft_r2c on 1x4x8x8"
    for text_format in ("table", "csv", "json", "markdown", "latex"):
        result = CliRunner().invoke(
            app, ["profile", f"{file}:Model", "--input-size", "8", "--backward", "--format", text_format]
        )
        assert result.exit_code == 0, result.output
        shown = result.stdout.replace("\\", "")
        if text_format == "csv":
            row = next(csv.DictReader(io.StringIO(shown)))
            assert row["training_step_macs"] == ""
            shown = row["notes"]
        elif text_format == "json":
            shown = json.loads(shown)[0]["training"]["reason"]
        assert reason in " ".join(shown.split()), text_format


@pytest.mark.filterwarnings("ignore")
def test_layers_of_integers_cost_what_their_layers_of_floating_point_do_and_cannot_be_trained() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(256, 5))
    integer = torch.ao.quantization.quantize_dynamic(network, {nn.Linear}, dtype=torch.qint8)
    counted: Profile = profile(integer, 8, backward=True)
    assert counted.macs == 64 * 12 + 256 * 5
    assert counted.training == NotMeasured(
        reason="no gradient reaches a parameter, because an operator in between has none"
    )
    from torchvision.models import quantization, resnet18

    whole = quantization.resnet18(weights=None, quantize=True)
    assert profile(whole, 32, activations=False).macs == profile(resnet18(), 32, activations=False).macs


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_bsr])
def test_a_product_with_a_sparse_tensor_is_not_taken_for_a_dense_one(layout: torch.layout) -> None:
    blocks = {"blocksize": (2, 2)} if layout is torch.sparse_bsr else {}

    class Neighbours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("adjacency", torch.eye(8).to_sparse(layout=layout, **blocks))

        def forward(self, rows: Tensor) -> Tensor:
            return self.adjacency @ rows  # type: ignore[no-any-return, operator]

    with pytest.raises(RefusedOperatorError, match="depends on how many values are set"):
        profile(Neighbours(), inputs=[torch.zeros(8, 5)])


def test_a_formula_that_came_with_an_operator_of_complex_numbers_is_taken() -> None:
    """The refusal of torch's own product of complex numbers asks for one; this one says 4 MACs a product."""

    @torch.library.custom_op("test_rare::complex_product", mutates_args=())
    def multiply(left: Tensor, right: Tensor) -> Tensor:
        return left @ right

    multiply.register_fake(lambda left, right: left.new_empty(left.shape[0], right.shape[1]))
    operator: Any = torch.ops.test_rare.complex_product

    @register_flop_formula(operator)
    def count_flops(left: tuple[int, ...], right: tuple[int, ...], *args: Any, **kwargs: Any) -> int:
        return 8 * left[0] * left[1] * right[1]

    class Product(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return operator(left, right)  # type: ignore[no-any-return]

    given = [torch.zeros(3, 8, dtype=torch.complex64), torch.zeros(8, 5, dtype=torch.complex64)]
    assert profile(Product(), inputs=given, activations=False).macs == 4 * 3 * 8 * 5


class Bags(nn.Module):
    """Bags of rows, weighted by what a layer says of each row, or not."""

    def __init__(self, mode: str, *, weighted: bool) -> None:
        super().__init__()
        self.rows, self.layer, self.weighted = nn.EmbeddingBag(10, 6, mode=mode), nn.Linear(4, 4), weighted

    def forward(self, ids: Tensor, image: Tensor) -> Tensor:
        weights = self.layer(image)
        if self.weighted:
            return self.rows(ids, per_sample_weights=weights)  # type: ignore[no-any-return]
        return self.rows(ids).sum() + weights.sum()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("mode", "weighted"), [("sum", False), ("mean", False), ("max", False), ("sum", True)])
def test_the_gradients_of_a_bag_are_a_product_for_its_rows_and_one_for_its_weights(mode: str, weighted: bool) -> None:
    inputs = [torch.zeros(3, 4, dtype=torch.long), torch.zeros(3, 4)]
    counted = profile(Bags(mode, weighted=weighted), inputs=inputs, backward=True, activations=False)
    layer, bag = 3 * 4 * 4, 3 * 4 * 6
    assert counted.training == TrainingCost(
        forward_macs=layer + bag * weighted, backward_macs=layer + 2 * bag * weighted
    )


def test_sampling_of_volumes_is_as_free_backwards_as_forwards() -> None:
    class Sampled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv3d(2, 2, 1)

        def forward(self, volume: Tensor, grid: Tensor) -> Tensor:
            return nn.functional.grid_sample(self.layer(volume), grid, align_corners=False)

    inputs = [torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 4, 4, 4, 3)]
    counted = profile(Sampled(), inputs=inputs, backward=True, activations=False)
    assert counted.training == TrainingCost(forward_macs=256, backward_macs=256)


def test_batch_normalisation_alone_is_said_to_be_folded_into_convolutions() -> None:
    reasons = {name: find_reason_free(f"aten::{name}") for name in ("native_batch_norm", "native_layer_norm", "var")}
    assert {name: "folded into the convolution" in str(reason) for name, reason in reasons.items()} == {
        "native_batch_norm": True,
        "native_layer_norm": False,
        "var": False,
    }
