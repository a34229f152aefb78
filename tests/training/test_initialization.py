import pytest
import torch
from torch import nn

from vtbench.layers.residual_branch import StochasticDepth
from vtbench.training.network import initialize_by_name, set_regularization


def test_equal_paths_and_shapes_start_equal_whatever_else_the_model_contains():
    one = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 9))
    before = torch.get_rng_state()
    initialize_by_name(one, 1)
    initialize_by_name(other, 1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one[0].weight, other[0].weight)
    assert torch.equal(one[1].bias, other[1].bias)
    kept = one[1].weight.clone()
    assert not torch.equal(one[1].weight[:, :3], one[0].weight)
    initialize_by_name(one, 2)
    assert not torch.equal(kept, one[1].weight)


def test_a_part_may_overwrite_what_its_children_drew():
    class Branch(nn.Sequential):
        def reset_parameters(self):
            nn.init.zeros_(self[0].weight)

    branch = Branch(nn.Linear(2, 2))
    initialize_by_name(nn.Sequential(branch), 0)
    assert not branch[0].weight.any()


def test_parameters_without_an_initialisation_of_their_own_are_refused():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(2))

    with pytest.raises(TypeError, match="1 is a Bare with parameters but without reset_parameters"):
        initialize_by_name(nn.Sequential(nn.ReLU(), Bare()), 0)


def test_stochastic_depth_grows_linearly_to_the_last_branch():
    model = nn.Sequential(*(StochasticDepth() for _ in range(4)), nn.Dropout(0.9))
    set_regularization(model, dropout=0.2, stochastic_depth=0.1)
    assert [module.p for module in model] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.2])
    set_regularization(model)
    assert not any(module.p for module in model)


def test_a_branch_is_dropped_for_single_images_and_kept_in_the_mean():
    branch, ones = StochasticDepth(0.25), torch.ones(4000, 2, 3)
    torch.manual_seed(0)
    thinned = branch(ones)
    assert set(thinned.unique().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert torch.equal(thinned, thinned[:, :1, :1].expand_as(thinned))
    assert thinned.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(branch.eval()(ones), ones)


@pytest.mark.parametrize("rates", [{"dropout": 1.0}, {"stochastic_depth": -0.1}])
def test_rates_that_are_no_probabilities_are_refused(rates):
    with pytest.raises(ValueError, match="in \\[0, 1\\)"):
        set_regularization(nn.ReLU(), **rates)
