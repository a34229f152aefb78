from dataclasses import replace

import numpy as np
import pytest
import torch

from vtbench.errors import UserError
from vtbench.models import create_model
from vtbench.relations.relation import RELATIONS
from vtbench.tokenizers.tokenizer import TOKENIZERS, TokenizerSite
from vtbench.tokenizers.value import ValueRule
from vtbench.training.network import initialize_by_name
from vtbench.training.token_maps import observe_tokens

BASE = "vt_resnet34:stem=small,width=8,num_tokens=4"
IMAGES = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def build(variant: str = BASE) -> torch.nn.Module:
    model = create_model(variant, num_classes=10, image_size=32)
    initialize_by_name(model, 0)
    return model.eval()


def test_the_maps_are_what_the_tokenizers_return_and_the_network_computes_the_same():
    model = build()
    module, seen = model.get_submodule("layer4.0"), {}
    handle = module.tokenizer.register_forward_hook(lambda _, __, output: seen.update(attention=output[1]))
    with torch.no_grad():
        before = model(IMAGES)
    handle.remove()
    observed = observe_tokens(model, IMAGES)
    assert [[maps.module for maps in image] for image in observed.images] == [[0, 1, 2]] * 2
    assert [maps.tokenizer for maps in observed.images[0]] == ["filter", "recurrent", "recurrent"]
    assert observed.images[1][0].attention == pytest.approx(seen["attention"][1].double().numpy(), rel=1e-5)
    for image in observed.images:
        for maps in image:
            assert maps.attention.shape == (4, 8, 12)
            assert maps.attention.sum(axis=(1, 2)) == pytest.approx(np.ones(4))
            assert maps.mixing.sum(axis=1) == pytest.approx(np.ones(4))
            assert maps.reach.sum(axis=(1, 2)) == pytest.approx(np.ones(4))
    with torch.no_grad():
        assert torch.equal(model(IMAGES), before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_the_mixing_weights_are_those_that_the_relation_applied():
    model = build()
    relation = model.get_submodule("layer4.2.relation")
    inputs = []
    handle = relation.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    observed = observe_tokens(model, IMAGES)
    handle.remove()
    expected = relation.attend(inputs[0])[1].mean(dim=0)
    assert observed.images[1][2].mixing == pytest.approx(expected.detach().double().numpy(), rel=1e-5)


def test_only_the_modules_that_were_asked_for_are_looked_at():
    assert [maps.module for maps in observe_tokens(build(), IMAGES, only=[2, 0]).images[0]] == [0, 2]


@pytest.mark.parametrize(("relation", "reason"), [("none", "not mixed"), ("graph_conv", "graph convolution")])
def test_without_token_attention_there_is_no_mixing_and_the_reason_is_given(relation, reason):
    maps = observe_tokens(build(f"{BASE},relations={relation}"), IMAGES).images[0][0]
    assert maps.mixing is None
    assert maps.reach is None
    assert reason in maps.no_mixing


def test_without_a_projector_later_modules_are_skipped_with_the_reason():
    observed = observe_tokens(build(f"{BASE},projector=off"), IMAGES)
    assert [maps.module for maps in observed.images[0]] == [0]
    assert observed.images[0][0].mixing is not None
    assert set(observed.skipped) == {1, 2}
    assert "Without a projector" in observed.skipped[1]


@pytest.mark.parametrize(
    ("variant", "only", "message"),
    [
        ("resnet20", [], "no visual tokens"),
        (f"{BASE},tokenizer=pooling", [], "cells of a grid"),
        (f"{BASE},projector=off", [1], "Without a projector"),
        (BASE, [3], "no module 3: this model has 3 modules of visual tokens, numbered 0 to 2"),
        (BASE, [-1], "no module -1"),
    ],
)
def test_what_has_no_maps_is_refused(variant, only, message):
    with pytest.raises(UserError, match=message):
        observe_tokens(build(variant), IMAGES, only=only)


SITE = TokenizerSite(
    in_channels=8, num_tokens=4, token_dim=16, group_width=4, first=True, value=ValueRule("rectified", 8, groups=2)
)


@pytest.mark.parametrize("name", list(TOKENIZERS))
def test_every_tokenizer_returns_attention_or_says_why_it_has_none(name):
    for site in (SITE, replace(SITE, first=False)):
        tokenizer = TOKENIZERS[name](site)
        _, attention = tokenizer(torch.randn(2, 8, 5, 7), None if site.first else torch.randn(2, 4, 16))
        assert (attention is None) == bool(tokenizer.no_attention)
        assert tokenizer.name


@pytest.mark.parametrize("name", list(RELATIONS))
def test_every_relation_gives_the_weights_of_its_attention_or_says_why_it_has_none(name):
    relation = RELATIONS[name](4, 16)
    weights = relation.attend(torch.randn(2, 4, 16))
    assert (weights is None) == bool(relation.no_attention)
    assert relation.name == name


def test_the_levels_of_a_vt_fpn_are_looked_at_each_at_its_own_size_and_say_why_no_mixing_is_shown():
    levels = observe_tokens(build("vt_fpn_resnet18:stem=small,width=8"), IMAGES).images[1]
    assert [maps.attention.shape for maps in levels] == [(8, 32, 48), (8, 16, 24), (8, 8, 12), (8, 4, 6)]
    assert {(maps.tokenizer, maps.relation) for maps in levels} == {("filter", "transformer")}
    assert all(maps.mixing is None and "all levels" in maps.no_mixing for maps in levels)
    unrelated = observe_tokens(build("vt_fpn_resnet18:stem=small,width=8,relations=none"), IMAGES).images[1]
    assert all("not mixed" in maps.no_mixing for maps in unrelated)
