"""Attention of networks of others: the weights are those that the network used, and maps are where they say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtbench.errors import UserError
from vtbench.tokens.attention import Wish, observe_attention, weigh

SIDE, PATCH, DIM, HEADS = 16, 4, 8, 2
NUM_PATCHES = (SIDE // PATCH) ** 2
IMAGES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


class Fused(nn.Module):
    """Heads that look where a bias sends the class token: head h at patch ``5 + h``."""

    def forward(self, tokens: Tensor) -> Tensor:
        bias = torch.zeros(HEADS, tokens.shape[1], tokens.shape[1])
        for head in range(HEADS):
            bias[head, 0, 1 + 5 + head] = 100.0
        heads = tokens.unflatten(2, (HEADS, -1)).transpose(1, 2)
        return F.scaled_dot_product_attention(heads, heads, heads, attn_mask=bias).transpose(1, 2).flatten(2)


class Written(nn.Module):
    """Without class token, softmax by a module, windows first: two to an image."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.Softmax(dim=-1)

    def forward(self, tokens: Tensor) -> Tensor:
        windows = tokens.reshape(2 * len(tokens), -1, DIM)
        tokens = F.scaled_dot_product_attention(windows[:, None], windows[:, None], windows[:, None])[:, 0].view_as(
            tokens
        )
        self.weights = self.attend(tokens @ tokens.transpose(1, 2))
        return self.weights @ tokens


class Torchs(nn.Module):
    """torch's module, which takes its fused path in evaluation, and so does the layer around it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(DIM, HEADS, 16, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layer(tokens)


class Vit(nn.Module):
    def __init__(self, block: nn.Module, *, has_class: bool) -> None:
        super().__init__()
        self.patches, self.block = nn.Conv2d(3, DIM, PATCH, PATCH), block
        self.token = nn.Parameter(torch.randn(1, int(has_class), DIM))

    def embed(self, images: Tensor) -> Tensor:
        return torch.cat([self.token.expand(len(images), -1, -1), self.patches(images).flatten(2).transpose(1, 2)], 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.block(self.embed(images)).mean(1)


def test_heads_of_the_class_token_look_where_they_were_sent_and_the_network_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    model = Vit(Fused(), has_class=True)
    before = model(IMAGES)
    for image in observe_attention(model, IMAGES, Wish(heads=(1, 0))).images:
        (maps,) = image
        assert (maps.layer, maps.tokenizer, maps.rows) == ("block", "the class token", ("head 1", "head 0"))
        assert [divmod(int(one.argmax()), 4) for one in maps.attention] == [(1, 2), (1, 1)]
        assert maps.attention.sum(axis=(1, 2)) == pytest.approx(1)
    ((mean,), _) = observe_attention(model, IMAGES, Wish()).images
    assert mean.rows == ("mean of 2 heads",) and mean.attention[0].ravel()[5:7] == pytest.approx(0.5)
    assert model.training and torch.equal(model(IMAGES), before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_without_class_token_a_map_is_what_places_receive_and_windows_are_no_map() -> None:
    torch.manual_seed(0)
    model = Vit(Written(), has_class=False)
    observed = observe_attention(model, IMAGES, Wish())
    for (maps,), weights in zip(observed.images, model.block.weights, strict=True):
        assert (maps.layer, maps.tokenizer) == ("block", "all places")
        assert maps.attention.ravel() == pytest.approx(weights.double().mean(0).numpy(), abs=1e-6)
    with pytest.raises(UserError, match=r"block has no class token .*Take --look received"):
        observe_attention(model, IMAGES, Wish(look="class-token"))


def test_torchs_own_attention_gives_the_weights_that_it_returns_itself() -> None:
    torch.manual_seed(0)
    model = Vit(Torchs(), has_class=True).eval()
    ((maps,), _) = observe_attention(model, IMAGES, Wish(heads=(1,))).images
    assert maps.layer == "block.layer.self_attn"
    with torch.no_grad():
        tokens = model.embed(IMAGES)
        _, weights = model.block.layer.self_attn(tokens, tokens, tokens, average_attn_weights=False)
    row = weights[0, 1, 0, 1:].double()
    assert maps.attention.ravel() == pytest.approx((row / row.sum()).numpy(), abs=1e-6)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": torch.randn(1, 1, 5, 5)},
        {"attn_mask": torch.eye(5, dtype=torch.bool)},
        {"enable_gqa": True},
    ],
    ids=lambda how: " ".join(how) or "plain",
)
def test_the_weights_of_the_fused_call_give_its_result(how: dict) -> None:
    torch.manual_seed(0)
    few = 2 if "enable_gqa" in how else 4
    query, key, value = (torch.randn(2, heads, 5, 3) for heads in (4, few, few))
    found = weigh(query, key, value, **how) @ value.repeat_interleave(4 // value.shape[1], 1)
    assert torch.allclose(found, F.scaled_dot_product_attention(query, key, value, **how), atol=1e-6)


def test_what_cannot_be_shown_is_one_sentence() -> None:
    model = Vit(Fused(), has_class=True)
    for wish, only, told in [
        (Wish(heads=(2,)), (), "There is no head 2: block has 2, numbered from 0"),
        (Wish(), (1,), "There is no module 1: this model has 1 call of attention"),
    ]:
        with pytest.raises(UserError, match=told):
            observe_attention(model, IMAGES, wish, only=only)
    with pytest.raises(UserError, match="no visual tokens and no attention to look at"):
        observe_attention(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), IMAGES, Wish())
    odd = torch.zeros(2, 3, SIDE, 3 * SIDE)
    with pytest.raises(UserError, match="are no map in the proportions"):
        observe_attention(Cut(), odd, Wish())


class Cut(nn.Module):
    """Attention over 7 of the places."""

    def forward(self, images: Tensor) -> Tensor:
        tokens = images.flatten(2)[:, :, :7].transpose(1, 2)[:, None]
        return F.scaled_dot_product_attention(tokens, tokens, tokens).mean((1, 2))
