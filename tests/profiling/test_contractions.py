"""Which multiplications that are followed by sums are contractions, and which are gates."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vtbench.profiling import profile
from vtbench.profiling.errors import RefusedOperatorError
from vtbench.profiling.products import have_same_values


class Function(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


def find(function: Callable[..., Tensor], *shapes: tuple[int, ...]) -> int:
    """The MACs that are found in ``function``; 0 if it passes for free."""
    model, inputs = Function(function), [torch.zeros(shape) for shape in shapes]
    found = profile(model, inputs=inputs, activations=False, count_contractions=True).macs
    if found:
        with pytest.raises(RefusedOperatorError):
            profile(model, inputs=inputs, activations=False)
    else:
        profile(model, inputs=inputs, activations=False)
    return found


CONTRACTIONS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...], int]] = {
    "outer product, summed": (lambda a, b: (a[:, :, None] * b[:, None]).sum(0), ((9, 4), (9, 5)), 9 * 4 * 5),
    "outer product, averaged": (lambda a, b: (a[:, :, None] * b[:, None]).mean(0), ((9, 4), (9, 5)), 9 * 4 * 5),
    "outer product, copied and reshaped first": (
        lambda a, b: (a[:, :, None] * b[:, None]).reshape(9, 20).t().contiguous().sum(1),
        ((9, 4), (9, 5)),
        180,
    ),
    "outer product, scaled and masked first": (
        lambda a, b: ((a[:, :, None] * b[:, None]) / 3).masked_fill(a[:, :, None] > 0, 0).sum(0),
        ((9, 4), (9, 5)),
        180,
    ),
    "outer product, summed with a running sum": (
        lambda a, b: (a[:, :, None] * b[:, None]).cumsum(0),
        ((9, 4), (9, 5)),
        180,
    ),
    "outer product, added to the row that an index names": (
        lambda a, b: a.new_zeros(1, 4, 5).scatter_reduce(
            0, torch.zeros(9, 4, 5, dtype=torch.long, device=a.device), a[:, :, None] * b[:, None], "sum"
        ),
        ((9, 4), (9, 5)),
        180,
    ),
    "outer product, added to what indices name": (
        lambda a, b: a.new_zeros(1, 4, 5).index_put(
            (torch.zeros(9, dtype=torch.long, device=a.device),), a[:, :, None] * b[:, None], accumulate=True
        ),
        ((9, 4), (9, 5)),
        180,
    ),
    "products, added in place to what two indices behind a whole dimension name": (
        lambda a, b: torch.ops.aten.index_put_(
            a.new_zeros(2, 3, 3), [None, *[torch.zeros(9, 9, dtype=torch.long, device=a.device)] * 2], a * b, True
        ),
        ((2, 9, 9), (2, 9, 9)),
        162,
    ),
    "outer product, summed by segments": (
        lambda a, b: torch.segment_reduce(
            a[:, :, None] * b[:, None], "sum", lengths=torch.full((3,), 3, device=a.device), unsafe=True
        ),
        ((9, 4), (9, 5)),
        180,
    ),
    "outer product, averaged by segments that begin somewhere": (
        lambda a, b: torch.segment_reduce(
            a[:, :, None] * b[:, None], "mean", offsets=torch.tensor([0, 4, 9], device=a.device), unsafe=True
        ),
        ((9, 4), (9, 5)),
        180,
    ),
    "outer product, averaged into the rows that an index names": (
        lambda a, b: a.new_zeros(1, 4, 5).scatter_reduce(
            0, torch.zeros(9, 4, 5, dtype=torch.long, device=a.device), a[:, :, None] * b[:, None], "mean"
        ),
        ((9, 4), (9, 5)),
        180,
    ),
    "outer product, added by a scatter that reduces": (
        lambda a, b: a.new_zeros(1, 4, 5).scatter(
            0, torch.zeros(9, 4, 5, dtype=torch.long, device=a.device), a[:, :, None] * b[:, None], reduce="add"
        ),
        ((9, 4), (9, 5)),
        180,
    ),
    "transposed convolution of each channel, folded": (
        lambda x, w: functional.fold((x[:, :, None] * w[None, :, :, None]).flatten(1, 2), (6, 6), 3, padding=1),
        ((1, 4, 36), (4, 9)),
        4 * 9 * 36,
    ),
    "outer product, copied by a flattening, then pooled": (
        lambda a, b: functional.avg_pool1d((a[:, :, None] * b[:, None]).transpose(0, 2).flatten(0, 1)[None], 9),
        ((9, 4), (9, 5)),
        180,
    ),
    "outer product of volumes, pooled": (
        lambda a, b: functional.avg_pool3d(a[:, None] * b[None], 2),
        ((3, 6, 6, 6), (4, 6, 6, 6)),
        3 * 4 * 216,
    ),
    "outer product of maps, pooled": (
        lambda a, b: functional.avg_pool2d(a[:, None] * b[None], 2),
        ((3, 6, 6), (4, 6, 6)),
        3 * 4 * 36,
    ),
    "weighted sum of neighbours": (
        lambda x, w: (functional.unfold(x, 3, padding=1).view(1, 4, 9, 36) * w[None, :, :, None]).sum(2),
        ((1, 4, 6, 6), (4, 9)),
        4 * 9 * 36,
    ),
    "weighted sum of branches": (
        lambda a, b, w: (torch.stack([a, b], 1) * w[:, :, :, None]).sum(1),
        ((2, 8, 9), (2, 8, 9), (2, 2, 8)),
        2 * 2 * 8 * 9,
    ),
    "inner product": (lambda a, b: (a * b).sum(), ((4, 5), (4, 5)), 20),
    "cosine similarity": (lambda a, b: functional.cosine_similarity(a, b), ((4, 5), (4, 5)), 20),
    "distances from differences": (
        lambda a, b: (a[:, None] - b[None]).pow(2).sum(-1),
        ((4, 3), (5, 3)),
        60,
    ),
    "distances from squared differences": (
        lambda a, b: torch.linalg.vector_norm(a[:, None] - b[None], dim=-1),
        ((4, 3), (5, 3)),
        60,
    ),
    "scattered products": (
        lambda x, w: torch.zeros(3, 4, device=x.device).index_add(
            0, torch.zeros(6, dtype=torch.long, device=x.device), x * w
        ),
        ((6, 4), (6, 4)),
        24,
    ),
    "many products, stacked and summed": (
        lambda x, w: torch.stack([w[k] * x[:, k : k + 8] for k in range(9)]).sum(0),
        ((4, 17), (9, 1, 1)),
        9 * 4 * 8,
    ),
    "convolution by shifts": (
        lambda x, w: sum((w[k] * x[:, k : k + 8] for k in range(3)), torch.zeros((), device=x.device)),
        ((4, 10), (3, 1, 1)),
        3 * 4 * 8,
    ),
    "convolution by shifts of a filter per channel": (
        lambda x, w: sum((w[:, k : k + 1] * x[:, k : k + 8] for k in range(3)), torch.zeros((), device=x.device)),
        ((4, 10), (4, 3)),
        3 * 4 * 8,
    ),
    "convolution by shifts, accumulated in place": (
        lambda x, w: [
            total := torch.zeros(4, 8, device=x.device),
            *(total.add_(w[:, k : k + 1] * x[:, k : k + 8]) for k in range(3)),
        ][0],
        ((4, 10), (4, 3)),
        96,
    ),
    "convolution by shifts with addcmul": (
        lambda x, w: [
            total := torch.zeros(4, 8, device=x.device),
            *(total.addcmul_(w[:, k : k + 1], x[:, k : k + 8]) for k in range(3)),
        ][0],
        ((4, 10), (4, 3)),
        96,
    ),
}
"""Name -> (function, shapes of its inputs, MACs)."""

GATES: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "gate per channel, then global average": (
        lambda x, g: (x * g[:, :, None, None]).mean((2, 3)),
        ((2, 4, 6, 6), (2, 4)),
    ),
    "gate per channel, then sum over the map": (
        lambda x, g: (x * g[:, :, None, None]).sum((2, 3)),
        ((2, 4, 6, 6), (2, 4)),
    ),
    "powers, pooled and rooted, then summed": (lambda x: functional.lp_pool2d(x, 2, 2).sum((2, 3)), ((2, 4, 6, 6),)),
    "products put into places of their own": (
        lambda a, b: a.new_zeros(12, 4).index_put((torch.arange(9, device=a.device),), a * b, accumulate=True),
        ((9, 4), (9, 4)),
    ),
    "products put where nothing is added": (
        lambda a, b: a.new_zeros(3, 4).index_put((torch.zeros(9, dtype=torch.long, device=a.device),), a * b),
        ((9, 4), (9, 4)),
    ),
    "products laid side by side by a fold": (
        lambda x, w: functional.fold((x[:, :, None] * w[None, :, :, None]).flatten(1, 2), (12, 12), 2, stride=2),
        ((1, 4, 36), (4, 4)),
    ),
    "largest products of segments": (
        lambda a, b: torch.segment_reduce(a * b, "max", lengths=torch.full((3,), 3, device=a.device), unsafe=True),
        ((9, 4), (9, 4)),
    ),
    "gate per image, then pooled": (
        lambda a, b: functional.avg_pool2d(a[:, :, None, None] * b[:, None], 2),
        ((9, 4), (9, 6, 6)),
    ),
    "gate per cell, then global average": (
        lambda x, g: functional.adaptive_avg_pool2d(x * g, 1),
        ((2, 4, 6, 6), (2, 1, 6, 6)),
    ),
    "activation by multiplication, then average": (lambda x: (x * x.sigmoid()).mean((2, 3)), ((2, 4, 6, 6),)),
    "gated linear unit": (lambda a, b: a * b, ((2, 4, 6), (2, 4, 6))),
    "residual connection with a scale": (lambda x, f, g: (x + g * f).mean(1), ((2, 6, 4), (2, 6, 4), (4,))),
    "residual connection with a scale per row, then summed": (
        lambda x, f, g: (x + g * f).sum(1),
        ((2, 6, 4), (2, 6, 4), (6, 4)),
    ),
    "rotary positions": (
        lambda x, s, c: x * c + torch.cat([-x[..., 2:], x[..., :2]], -1) * s,
        ((2, 6, 4), (6, 4), (6, 4)),
    ),
    "norm": (lambda x: x * x.pow(2).mean(-1, keepdim=True).rsqrt(), ((2, 6, 4),)),
    "norm by a product with itself": (lambda x: x / (x * x).sum(-1, keepdim=True).sqrt(), ((2, 6, 4),)),
    "softmax by hand": (lambda x: x.exp() / x.exp().sum(-1, keepdim=True), ((2, 6, 4),)),
    "branches scaled, stacked and summed": (
        lambda a, b, g: torch.stack([a * g[0], b * g[1]]).sum(0),
        ((2, 6, 4), (2, 6, 4), (2, 4)),
    ),
    "logits scaled by a number each, stacked and summed": (
        lambda a, b, c, d, w: torch.stack([w[0] * a, w[1] * b, w[2] * c, w[3] * d]).sum(0),
        ((2, 9), (2, 9), (2, 9), (2, 9), (4,)),
    ),
    "outputs of an expert, weighted and added to their rows": (
        lambda x, w: torch.zeros(9, 4, device=x.device).index_add(0, torch.arange(6, device=x.device), x * w),
        ((6, 4), (6, 1)),
    ),
    "interpolation of four": (
        lambda a, b, c, d, w: w[0] * a + w[1] * b + w[2] * c + w[3] * d,
        ((2, 3), (2, 3), (2, 3), (2, 3), (4, 2, 3)),
    ),
    "outer product that is kept": (lambda a, b: a[:, None] * b[None], ((4,), (5,))),
    "outer product, summed where only one factor varies": (
        lambda a, b: (a[:, :, None] * b[:, None]).sum(2),
        ((9, 4), (9, 5)),
    ),
}


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_contractions_are_found_with_their_cost(name: str) -> None:
    function, shapes, macs = CONTRACTIONS[name]
    assert find(function, *shapes) == macs


@pytest.mark.parametrize("name", GATES)
def test_gates_are_not_mistaken_for_contractions(name: str) -> None:
    function, shapes = GATES[name]
    assert find(function, *shapes) == 0


def make_indices(like: Tensor, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.long, device=like.device)


def put_into_the_middle(moved: Tensor) -> Tensor:
    around = moved.new_zeros(2, 4, 6, 8)
    around[..., 1:-1] = moved
    return around


MOVES: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "rolled": (lambda x: x.roll(1, 1), 288),
    "rolled as if they had one dimension": (lambda x: x.roll(1), 288),
    "flipped": (lambda x: x.flip(1), 288),
    "padded with nothing": (lambda x: functional.pad(x, (0, 0, 1, 1)), 384),
    "padded by reflection": (lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), 512),
    "gathered": (lambda x: x.gather(1, make_indices(x, 2, 3, 6, 6)), 216),
    "selected by an index": (lambda x: x.index_select(2, make_indices(x, 3)), 144),
    "indexed": (lambda x: x[:, :, make_indices(x, 3)], 144),
    "indexed by two that lie apart": (lambda x: x[make_indices(x, 5), :, make_indices(x, 5)], 120),
    "chosen by a condition": (lambda x: torch.where(x > 0, x, torch.zeros_like(x)), 288),
    "sorted": (lambda x: x.sort(1).values, 288),
    "repeated": (lambda x: x.repeat(1, 1, 2, 1), 576),
    "copied into a larger map": (put_into_the_middle, 384),
    "shuffled into a larger map": (lambda x: functional.pixel_shuffle(x, 2).sum((2, 3), keepdim=True), 288),
    "unfolded into a row of windows": (lambda x: functional.unfold(x, 3).view(2, 4, 9, 16), 1152),
}
"""What is done to products of maps (2, 4, 6, 6) before they are summed over channels, and how many are summed then."""


@pytest.mark.parametrize("name", MOVES)
def test_products_that_are_moved_before_they_are_summed_are_found(name: str) -> None:
    move, macs = MOVES[name]
    assert find(lambda a, b: move(a * b).sum(1), (2, 4, 6, 6), (2, 4, 6, 6)) == macs


@pytest.mark.parametrize("name", [name for name in MOVES if "one dimension" not in name and "into a" not in name])
def test_a_gate_is_one_wherever_its_products_are_moved(name: str) -> None:
    move, _ = MOVES[name]
    assert find(lambda x, g: move(x * g[..., None, None]).sum(-1), (2, 4, 6, 6), (2, 4)) == 0


def test_a_product_is_forgotten_when_its_memory_is_written_over() -> None:
    def forget(a: Tensor, b: Tensor) -> Tensor:
        outer = a[:, :, None] * b[:, None]
        outer.zero_()
        return outer.sum(0)

    assert find(forget, (9, 4), (9, 5)) == 0


class Constants(nn.Module):
    """A layer of 12 MACs a cell whose scale is an inner product of parameters, as in differential attention."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 1)
        self.queries, self.keys = nn.Parameter(torch.ones(9)), nn.Parameter(torch.ones(9))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        scale = (self.queries * self.keys).sum() + torch.fft.fft(self.keys).real.sum()
        return self.layer(images_BCHW) * scale


def test_what_parameters_alone_give_is_a_constant_whichever_operators_make_it() -> None:
    counted = profile(Constants(), 8)
    assert counted.macs == 64 * 12
    assert not any("left out" in note or "not counted" in note for note in counted.notes)


def test_what_parameters_and_input_give_together_is_none() -> None:
    class Mixed(Constants):
        def forward(self, images_BCHW: Tensor) -> Tensor:
            self.keys.data.copy_(images_BCHW[0, 0, 0, 0].expand(9))
            return super().forward(images_BCHW)

    with pytest.raises(RefusedOperatorError, match="_fft_r2c"):
        profile(Mixed(), 8)


class Nearly(nn.Module):
    """A convolution of 32 channels, and an inner product over one of ``num_summed`` numbers of it."""

    def __init__(self, num_summed: int) -> None:
        super().__init__()
        self.layer, self.num_summed = nn.Conv2d(3, 32, 3, padding=1), num_summed

    def forward(self, images_BCHW: Tensor) -> Tensor:
        cells = self.layer(images_BCHW).flatten()[: self.num_summed]
        return (cells * cells.flip(0)).sum()


def test_a_model_is_not_refused_over_less_than_a_thousandth_of_its_count_and_says_how_much() -> None:
    layer = 64 * 32 * 27
    counted = profile(Nearly(layer // 1000), 8)
    assert counted.macs == layer
    assert any(f"{layer // 1000} MACs of products that are summed" in note for note in counted.notes)
    assert sum(part.macs for part in counted.operators) == sum(part.macs for part in counted.roles) == layer
    assert profile(Nearly(layer // 1000), 8, count_contractions=True).macs == layer + layer // 1000
    with pytest.raises(RefusedOperatorError, match="multiplies and sums"):
        profile(Nearly(layer // 1000 + 1), 8)


def test_scaled_residuals_of_many_blocks_are_no_chain() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.scale * x.relu()

    profile(nn.Sequential(*(Block() for _ in range(12))), inputs=[torch.zeros(2, 4)], activations=False)


def test_two_views_have_the_same_values_only_if_they_show_the_same_part_in_the_same_form() -> None:
    memory = torch.arange(12.0)
    assert have_same_values(memory.view(3, 4), memory.view(3, 4))
    for other in (memory[:8].view(2, 4), memory[1:], memory.view(4, 3).T, torch.arange(12.0).view(3, 4)):
        assert not have_same_values(memory.view(3, 4), other)
