import math

import pytest
import torch
from torch import nn

from vtbench.profiling import profile
from vtbench.projectors.attention_projector import AttentionProjector


def make_inputs(channels: int, token_dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, channels, 5, 3, generator=generator), torch.randn(2, 6, token_dim, generator=generator)


def test_the_projector_follows_equation_5():
    projector = AttentionProjector(8, 16, 32, lateral_groups=1, query_groups=4).eval()
    map_BCHW, tokens = make_inputs(8, 32)
    queries = projector.query(map_BCHW).permute(0, 2, 3, 1).reshape(2, 15, 16)
    keys, values = tokens @ projector.key.weight.T, tokens @ projector.value.weight.T
    projected = torch.empty(2, 15, 16)
    for head in range(4):
        own = slice(4 * head, 4 * head + 4)
        weights = (queries[:, :, own] @ keys[:, :, own].transpose(1, 2) / math.sqrt(4)).softmax(dim=2)
        projected[:, :, own] = weights @ values[:, :, own]
    expected = projector.lateral(map_BCHW) + projector.norm(projected.transpose(1, 2).reshape(2, 16, 5, 3))
    torch.testing.assert_close(projector(map_BCHW, tokens), expected.relu())


def test_equal_widths_need_no_lateral_and_no_values():
    projector = AttentionProjector(16, 16, 16, lateral_groups=None, query_groups=4)
    assert isinstance(projector.lateral, nn.Identity)
    assert isinstance(projector.value, nn.Identity)


FORMS = {
    "dense lateral": {"lateral_groups": 1, "query_groups": 4},
    "no lateral": {"lateral_groups": None, "query_groups": 2},
    "grouped lateral asks": {"lateral_groups": 4, "query": "lateral"},
    "the map asks": {"lateral_groups": 2, "query": "map"},
}


@pytest.mark.parametrize("is_kept_known", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("widths", [(8, 16, 32), (16, 16, 32), (16, 8, 16), (16, 16, 16)])
def test_the_macs_that_the_projector_states_are_counted(widths, form, is_kept_known):
    channels, out_channels, token_dim = widths
    if form == "no lateral" and channels != out_channels:
        return
    projector = AttentionProjector(channels, out_channels, token_dim, **FORMS[form])
    inputs = make_inputs(channels, token_dim)
    if is_kept_known:
        inputs = (*inputs, projector.lateral(inputs[0]).detach())
    counted = profile(projector, inputs=inputs, activations=False).macs
    assert counted == projector.expected_macs(*(tuple(value.shape) for value in inputs))


@pytest.mark.parametrize(("query", "asks"), [("lateral", lambda p, x: p.lateral(x)), ("map", lambda p, x: x)])
def test_the_lateral_or_the_map_itself_can_ask(query, asks):
    projector = AttentionProjector(8, 16, 32, lateral_groups=4, query=query).eval()
    map_BCHW, tokens = make_inputs(8, 32)
    kept = projector.lateral(map_BCHW)
    queries = asks(projector, map_BCHW).permute(0, 2, 3, 1).reshape(2, 15, -1)
    keys, values = tokens @ projector.key.weight.T, tokens @ projector.value.weight.T
    dim = queries.shape[2] // 4
    projected = torch.empty(2, 15, 16)
    for head in range(4):
        own, its = slice(dim * head, dim * (head + 1)), slice(4 * head, 4 * head + 4)
        weights = (queries[:, :, own] @ keys[:, :, own].transpose(1, 2) / math.sqrt(dim)).softmax(dim=2)
        projected[:, :, its] = weights @ values[:, :, its]
    expected = (kept + projector.norm(projected.transpose(1, 2).reshape(2, 16, 5, 3))).relu()
    torch.testing.assert_close(projector(map_BCHW, tokens), expected)
    torch.testing.assert_close(projector(map_BCHW, tokens, kept), expected)


def test_the_map_passes_almost_unchanged_at_first():
    torch.manual_seed(0)
    projector = AttentionProjector(16, 16, 32, lateral_groups=None, query_groups=4).train()
    map_BCHW, tokens = make_inputs(16, 32)
    change = (projector(map_BCHW, tokens) - map_BCHW).square().mean().sqrt()
    assert 0 < change < 0.15


@pytest.mark.parametrize("normalize", [True, False])
def test_zeroed_tokens_leave_the_lateral_alone_at_the_same_cost_and_teach_nothing(normalize):
    options = {"lateral_groups": 1, "query_groups": 4, "normalize": normalize}
    control, plain = (AttentionProjector(8, 16, 32, zeroed=zeroed, **options) for zeroed in (True, False))
    control.norm.bias.data.fill_(1.0)
    map_BCHW, tokens = make_inputs(8, 32)
    tokens.requires_grad_()
    output = control(map_BCHW, tokens)
    torch.testing.assert_close(output, control.lateral(map_BCHW).relu(), rtol=0, atol=0)
    output.square().sum().backward()
    assert not tokens.grad.any() and not control.value.weight.grad.any() and control.lateral[0].weight.grad.any()
    inputs = (map_BCHW, tokens.detach())
    assert profile(control, inputs=inputs).macs == profile(plain, inputs=inputs).macs
