from __future__ import annotations

import pytest
import torch

from vtbench.training.reproducibility import repeatable, seed_step

CPU = torch.device("cpu")


def test_kernels_are_deterministic_inside_and_everything_is_as_before_outside() -> None:
    threads = torch.get_num_threads()
    for compiled in (False, True):
        with repeatable(CPU, threads=threads + 1, compiled=compiled):
            assert torch.is_deterministic_algorithms_warn_only_enabled()
            assert torch.get_num_threads() == threads + 1
            assert not compiled or torch._inductor.config.deterministic
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == threads
    assert not torch._inductor.config.deterministic


def test_everything_is_as_before_after_a_failure_too() -> None:
    before = torch.get_rng_state()
    with pytest.raises(KeyError), repeatable(CPU, threads=None):
        torch.rand(3)
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_draws_of_a_step_follow_from_seed_and_step() -> None:
    def draw(seed: int, step: int) -> float:
        seed_step(seed, step)
        return float(torch.rand(()))

    with repeatable(CPU, threads=None):
        assert draw(1, 2) == draw(1, 2)
        assert len({draw(seed, step) for seed in range(10) for step in range(10)}) == 100
