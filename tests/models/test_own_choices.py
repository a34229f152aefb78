"""Our own choices in a visual transformer: each is an option at no cost, and ``form=paper`` takes all of them back."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vtbench.errors import UserError
from vtbench.layers.residual_branch import BranchBatchNorm, BranchLayerNorm
from vtbench.models import create_model
from vtbench.models.visual_transformer import TokenModule, VisualTransformerModule
from vtbench.profiling import count_costs
from vtbench.tokenizers.position import AttentionPosition
from vtbench.tokenizers.recurrent import RecurrentTokenizer
from vtbench.tokenizers.tokenizer import TokenizerSite
from vtbench.tokenizers.value import ValueRule
from vtbench.training.network import initialize_by_name

# B images; L tokens; D dimensions of a token.

BASE = "vt_resnet18:stem=small,width=8,position=on"
FPN = "vt_fpn_resnet18:stem=small,width=8,tokenizer=dynamic,position=on"
CHOICES = ["filters=whole", "maps=peaked", "branches=full", "encoding=plain", "values=linear", "carry=off"]
FORMS = [(BASE, choice) for choice in [*CHOICES, "form=paper"]] + [
    (FPN, choice) for choice in [*CHOICES[:4], "form=paper"]
]


def build(variant: str) -> nn.Module:
    model = create_model(variant, num_classes=10, image_size=32)
    initialize_by_name(model, 0)
    return model.eval()


def list_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is multiplied: every parameter but those of normalisations and scales."""
    return {name: value for name, value in model.named_parameters() if value.ndim > 1 and "norm" not in name}


@pytest.mark.parametrize(("base", "choice"), FORMS)
def test_a_choice_costs_nothing_and_changes_the_output(base: str, choice: str) -> None:
    ours, other = build(base), build(f"{base},{choice}")
    costs = [count_costs(variant, (32, 32), 10) for variant in (base, f"{base},{choice}")]
    assert costs[0].macs == costs[1].macs
    shapes = [{name: value.shape for name, value in list_weights(model).items()} for model in (ours, other)]
    assert shapes[0] == shapes[1]
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert not torch.allclose(ours(images), other(images), atol=1e-5)


@pytest.mark.parametrize(("name", "macs"), [("vt_resnet18", 1578.95), ("vt_resnet34", 3299.01)])
def test_the_paper_s_form_has_the_paper_s_costs(name: str, macs: float) -> None:
    costs = count_costs(f"{name}:form=paper", (224, 224), 1000)
    assert round(costs.macs / 1e6, 2) == macs
    assert costs.macs == count_costs(name, (224, 224), 1000).macs


@pytest.mark.parametrize("base", [BASE, FPN])
def test_the_paper_s_form_is_all_choices_switched_off_together(base: str) -> None:
    """Weight by weight it is what the single choices make, so that none is left out of it."""
    choices = CHOICES if base == BASE else CHOICES[:4]
    paper, ours = build(f"{base},form=paper").state_dict(), build(base).state_dict()
    changed = {name for name in ours if name not in paper or not torch.equal(ours[name], paper[name])}
    alone = set()
    for choice in choices:
        single = build(f"{base},{choice}").state_dict()
        different = {name for name in ours if name not in single or not torch.equal(ours[name], single[name])}
        assert all(torch.equal(single[name], paper[name]) for name in different & single.keys())
        alone |= different
    assert changed == alone


def test_filters_of_whole_tokens_follow_equation_2() -> None:
    site = TokenizerSite(8, 6, 16, 4, first=False, value=ValueRule("linear", 8, 2), whole_filters=True)
    tokenizer, map_BCHW, tokens = RecurrentTokenizer(site).eval(), torch.randn(2, 8, 5, 7), torch.randn(2, 6, 16)
    keys = tokenizer.key_norm(tokenizer.key(map_BCHW)).flatten(2)
    logits = tokens @ tokenizer.to_filters.weight.T @ keys / math.sqrt(8)
    torch.testing.assert_close(tokenizer(map_BCHW, tokens)[1].flatten(2), logits.softmax(dim=2))


def test_a_plain_encoding_is_the_convolution_of_tokens_and_attention() -> None:
    position = AttentionPosition(16, 4, (2, 2), plain=True)
    tokens, attention = torch.randn(2, 3, 16), torch.rand(2, 3, 8, 6)
    place = F.adaptive_avg_pool2d(attention, 2).flatten(2) @ position.to_position.weight.T
    torch.testing.assert_close(position(tokens, attention), torch.cat((tokens, place), dim=2) @ position.merge.weight.T)


def test_maps_start_nearly_uniform_or_ten_times_as_peaked() -> None:
    ours, peaked = (
        build(f"{BASE}{choice}").get_parameter("layer4.0.tokenizer.filters.weight") for choice in ("", ",maps=peaked")
    )
    torch.testing.assert_close(10 * ours, peaked)


@pytest.mark.parametrize(("choice", "start"), [("", 0.1), (",branches=full", 1.0), (",form=paper", 1.0)])
@pytest.mark.parametrize("base", [BASE, f"{BASE},relations=graph_conv", FPN])
def test_residual_branches_start_where_the_option_says(base: str, choice: str, start: float) -> None:
    norms = [part for part in build(base + choice).modules() if isinstance(part, BranchLayerNorm | BranchBatchNorm)]
    assert norms
    assert all((norm.weight == start).all() for norm in norms)


@pytest.mark.parametrize(("carry", "is_added"), [("on", True), ("off", False)])
def test_tokens_are_added_to_those_before_or_not(carry: str, is_added: bool) -> None:
    module = build(f"vt_resnet18:stem=small,width=8,relations=none,tokenizer=static,carry={carry}").get_submodule(
        "layer4.1"
    )
    assert isinstance(module, VisualTransformerModule)
    map_BCHW, tokens = torch.rand(1, 64, 8, 8), torch.randn(1, 16, 128)
    found, related = module.read_tokens(map_BCHW, tokens), module(map_BCHW, tokens)[1]
    torch.testing.assert_close(related, found + tokens if is_added else found)


def test_without_a_projector_tokens_are_carried_or_not() -> None:
    for carry, start in (("on", 0.1), ("off", 1.0)):
        module = build(f"vt_resnet18:width=8,relations=none,projector=off,carry={carry}").get_submodule("layer4.1")
        assert isinstance(module, TokenModule)
        assert (module.norm.weight == start).all()
        tokens = torch.randn(1, 16, 128)
        made = module.norm(module.dense(tokens))
        torch.testing.assert_close(module(torch.rand(1, 32, 4, 4), tokens)[1], tokens + made if carry == "on" else made)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("form=paper,carry=off", "form=paper has carry=off already: leave carry out"),
        ("encoding=plain", "position=off encodes no positions"),
        ("tokenizer=static,filters=whole", "tokenizer=static makes no filters of tokens"),
        ("tokenizer=pooling,maps=peaked", "tokenizer=pooling has no attention"),
        ("tokenizer=pooling,values=linear", "tokenizer=pooling makes no values"),
        ("projector=off,filters=whole", "only the first module reads the map"),
        ("projector=off,tokenizer=clustering,maps=peaked", "tokenizer=clustering has no filters"),
        ("filters=whole,maps=peaked,branches=full,values=linear,carry=off", "the model is form=paper. Write that"),
    ],
)
def test_a_choice_that_says_nothing_is_refused_with_the_reason(options: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        create_model(f"vt_resnet18:{options}")
