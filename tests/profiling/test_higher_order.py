"""Operators that take functions: branches, loops, scans and flexible attention are counted by what is inside."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from vtbench.profiling import profile
from vtbench.profiling.arguments import Arguments
from vtbench.profiling.higher_order import count_pairs
from vtbench.profiling.measure import measure_peak_memory
from vtbench.records import NotMeasured

pytestmark = pytest.mark.filterwarnings("ignore")
IMAGE = [torch.zeros(1, 3, 8, 8)]


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dear, self.cheap = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: self.dear(x), lambda x: self.cheap(x), (x,))  # type: ignore[no-any-return]


DEAR, CHEAP = 64 * 8 * 27, 64 * 8 * 3


@pytest.mark.parametrize("exported", [False, True])
def test_both_branches_of_a_condition_are_counted(exported: bool) -> None:
    model = torch.export.export(Branches(), tuple(IMAGE)).module() if exported else Branches()
    counted = profile(model, inputs=IMAGE, activations=False)
    assert counted.traced_on == "meta"
    assert counted.value_dependence is not None
    assert counted.value_dependence.macs == (CHEAP, DEAR)
    assert counted.value_dependence.is_complete
    if not exported:
        assert counted.covered_macs == counted.macs == DEAR


def test_a_condition_is_trained_and_keeps_activations() -> None:
    counted = profile(Branches(), inputs=IMAGE, backward=True)
    assert not isinstance(counted.training, NotMeasured)
    assert counted.training is not None
    assert counted.training.macs == 2 * DEAR
    assert not isinstance(counted.activations, NotMeasured)


def test_a_loop_is_counted_as_often_as_it_runs() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            def step(count: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
                return count + 1, self.layer(x)

            return torch.while_loop(lambda count, x: count < 5, step, (torch.zeros((), dtype=torch.int64), x))[1]  # type: ignore[no-any-return]

    counted = profile(Loop(), inputs=[torch.zeros(2, 3)], activations=False)
    assert counted.macs == 5 * 2 * 9
    assert counted.value_dependence is None


def test_every_step_of_a_scan_is_counted() -> None:
    from torch._higher_order_ops.scan import scan

    class Scanning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return scan(lambda c, y: (self.layer(c) + y, c.clone()), torch.zeros(1, 3, device=x.device), x)[1]  # type: ignore[no-any-return]

    assert profile(Scanning(), inputs=[torch.zeros(7, 1, 3)], activations=False).macs == 7 * 9


class Flexible(nn.Module):
    """2 query heads of width 16 over ``length`` tokens, and ``num_keys`` heads of keys."""

    def __init__(self, mask: BlockMask | None = None, num_key_heads: int = 2) -> None:
        super().__init__()
        self.project = nn.Linear(16, 16, bias=False)
        self.mask, self.num_key_heads = mask, num_key_heads

    def forward(self, x: Tensor) -> Tensor:
        key = self.project(x)[:, : self.num_key_heads]
        return flex_attention(  # type: ignore[no-any-return]
            self.project(x), key, key, block_mask=self.mask, enable_gqa=self.num_key_heads == 1
        )


@pytest.mark.parametrize("num_key_heads", [1, 2])
def test_flexible_attention_costs_what_attention_does(num_key_heads: int) -> None:
    counted = profile(Flexible(num_key_heads=num_key_heads), inputs=[torch.zeros(1, 2, 200, 16)], backward=True)
    layer, products = 2 * 400 * 256, 2 * 2 * 200 * 200 * 16
    assert counted.macs == layer + products
    assert not isinstance(counted.training, NotMeasured)
    assert counted.training is not None
    assert counted.training.backward_macs == layer + 2 * products
    assert any(one.verdict == "counted" and "block_attention" in one.name for one in counted.operators)


def test_the_blocks_that_a_mask_leaves_are_counted_cut_off_at_the_ends() -> None:
    """Causal, 300 tokens in blocks of 128: rows of 128, 128 and 44 meet 128, 256 and 300 keys."""
    mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, 300, 300, device="cpu")
    pairs = 128 * 128 + 128 * 256 + 44 * 300
    assert count_pairs(mask.as_tuple(), (1, 2, 300, 16), 300) == 2 * pairs
    counted = profile(Flexible(mask), inputs=[torch.zeros(1, 2, 300, 16)], activations=False)
    assert counted.macs == 2 * 600 * 256 + 2 * pairs * 32


def test_a_stated_cost_around_flexible_attention_is_held_against_the_count() -> None:
    class Attend(nn.Module):
        def forward(self, q: Tensor) -> Tensor:
            return flex_attention(q, q, q)  # type: ignore[no-any-return]

        def expected_macs(self, q: tuple[int, ...]) -> int:
            return 2 * q[0] * q[1] * q[2] * q[2] * q[3]

    counted = profile(nn.Sequential(Attend()), inputs=[torch.zeros(1, 2, 9, 16)], activations=False)
    assert counted.macs == counted.covered_macs == 2 * 2 * 81 * 16


def test_a_condition_is_measured_with_its_memory() -> None:
    found = measure_peak_memory(Branches().eval(), Arguments(tuple(IMAGE)), torch.device("cpu"))
    assert isinstance(found, int)
    assert found > 64 * 8 * 4
