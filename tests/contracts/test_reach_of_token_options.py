"""Each option of a visual transformer changes what it names, and nothing else."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vtbench.errors import UserError
from vtbench.models import MODELS, create_model
from vtbench.models.visual_transformer import VisualTransformerModule
from vtbench.profiling import profile
from vtbench.training.network import initialize_by_name
from vtbench.variants import canonical_spelling

BASE = "vt_resnet34:stem=small,width=8"
STAGE = "layer4"
TOKEN_DIM, POSITION_DIM, NUM_MODULES = 128, 16, 3

# Option -> where parameters may differ in name or shape, and the roles whose MACs must change.
REACH = {
    "tokenizer=static": (".tokenizer.", {"tokenizer"}),
    "tokenizer=pooling": (".tokenizer.", {"tokenizer"}),
    "tokenizer=clustering": (".0.tokenizer.", {"tokenizer"}),
    "position=on": (".position.", {"position"}),
    "num_tokens=8": (".tokenizer.filters.", {"tokenizer", "token MLP", "token attention", "projector"}),
    "token_dim=64": ("", {"tokenizer", "token MLP", "token attention", "projector", "classifier"}),
    "relations=none": (".relation.", {"token MLP", "token attention"}),
    "relations=graph_conv": (".relation.", {"token MLP", "token attention"}),
    "projector=off": ("", {"tokenizer", "token MLP", "projector"}),
}


def build(variant: str, size: tuple[int, int] = (32, 32)) -> nn.Module:
    model = create_model(variant, num_classes=10, image_size=size)
    initialize_by_name(model, 0)
    return model.eval()


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.named_parameters()}


def roles(model: nn.Module) -> dict[str, int]:
    return {part.name: part.macs for part in profile(model, 32, activations=False).roles}


def changed(first: dict, second: dict) -> set[str]:
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


def make_images(batch: int = 2, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("option", REACH)
def test_an_option_changes_parameters_only_in_the_part_it_names(option):
    part, _ = REACH[option]
    different = changed(shapes(build(BASE)), shapes(build(f"{BASE},{option}")))
    outside = {name for name in different if not name.startswith(f"{STAGE}.") or part not in name}
    assert outside <= ({"fc.weight"} if option.startswith("token_dim") else set())
    assert different


@pytest.mark.parametrize("option", REACH)
def test_an_option_changes_macs_only_in_the_roles_it_names(option):
    _, named = REACH[option]
    assert changed(roles(build(BASE)), roles(build(f"{BASE},{option}"))) == named


@pytest.mark.parametrize("option", REACH)
def test_an_option_changes_the_output_though_shared_weights_are_equal(option):
    base, other = build(BASE), build(f"{BASE},{option}")
    different_modules = {name.rpartition(".")[0] for name in changed(shapes(base), shapes(other))}
    for name, parameter in base.named_parameters():
        if name.rpartition(".")[0] not in different_modules:
            assert torch.equal(parameter, other.get_parameter(name)), name
    with torch.no_grad():
        assert not torch.allclose(base(make_images()), other(make_images()), atol=1e-5)


@pytest.mark.parametrize("variant", [BASE, "vt_resnet20", "vt_fpn_resnet18:stem=small,width=8"])
def test_a_network_with_zeroed_tokens_has_the_weights_and_costs_of_that_without(variant):
    base, control = build(variant), build(f"{variant}{',' if ':' in variant else ':'}projector=zeroed")
    assert base.state_dict().keys() == control.state_dict().keys()
    assert all(torch.equal(value, control.state_dict()[name]) for name, value in base.state_dict().items())
    assert roles(base) == roles(control)
    with torch.no_grad():
        assert not torch.allclose(base(make_images()), control(make_images()), atol=1e-5)


@pytest.mark.parametrize("variant", [BASE, "vt_resnet20"])
def test_the_trunk_starts_equal_to_that_of_the_twin(variant):
    tokens, twin = build(variant), build(variant.removeprefix("vt_"))
    last = f"layer{3 if variant == 'vt_resnet20' else 4}."
    shared = {name for name in shapes(tokens) if not name.startswith((last, "fc."))}
    assert shared == {name for name in shapes(twin) if not name.startswith((last, "fc."))}
    for name in shared:
        assert torch.equal(tokens.get_parameter(name), twin.get_parameter(name)), name


def test_position_encoding_adds_exactly_its_own_parameters_and_macs():
    off, on = build(BASE), build(f"{BASE},position=on")
    size = 49 * POSITION_DIM + (TOKEN_DIM + POSITION_DIM) * TOKEN_DIM
    added = sum(p.numel() for p in on.parameters()) - sum(p.numel() for p in off.parameters())
    assert added == NUM_MODULES * size
    assert roles(on)["position"] == NUM_MODULES * 16 * size


def test_position_encoding_tells_apart_what_lies_in_different_places():
    """Pooling by uniform attention is blind to where a pixel lies; the position of a peaked map is not."""
    position = build(f"{BASE},position=on").get_submodule(f"{STAGE}.0.position")
    tokens = torch.zeros(1, 16, TOKEN_DIM)
    corner, centre = torch.zeros(1, 16, 9, 9), torch.zeros(1, 16, 9, 9)
    corner[..., 0, 0] = centre[..., 4, 4] = 1
    assert not torch.allclose(position(tokens, corner), position(tokens, centre), atol=1e-3)


def run_module(module: nn.Module, map_BCHW: torch.Tensor, tokens_BLD: torch.Tensor) -> torch.Tensor:
    return module.tokenizer(map_BCHW, tokens_BLD)[1]


@pytest.mark.parametrize(("tokenizer", "is_static"), [("static", True), ("dynamic", False), ("clustering", False)])
def test_static_tokens_have_filters_that_do_not_depend_on_the_input_and_dynamic_ones_do(tokenizer, is_static):
    module = build(f"{BASE},tokenizer={tokenizer}").get_submodule(f"{STAGE}.1")
    torch.manual_seed(0)
    map_BCHW = torch.rand(1, 64, 8, 8)
    one, other = (run_module(module, map_BCHW, torch.randn(1, 16, TOKEN_DIM)) for _ in range(2))
    assert torch.equal(one, other) == is_static


def test_clusters_follow_the_image():
    """The same pixel beside other pixels gets other weights by another centroid, though no earlier token exists."""
    tokenizer = build(f"{BASE},tokenizer=clustering").get_submodule(f"{STAGE}.0.tokenizer")
    torch.manual_seed(0)
    one = torch.rand(1, 32, 8, 8)
    other = torch.cat((one[..., :4], torch.rand(1, 32, 8, 4)), dim=3)
    (_, first), (_, second) = tokenizer(one), tokenizer(other)
    ratios = [(weights[..., 0, 0] / weights[..., 1, 1]) for weights in (first, second)]
    assert not torch.allclose(*ratios, atol=1e-4)


@pytest.mark.parametrize("tokenizer", ["dynamic", "static", "clustering"])
def test_attention_sums_to_one_over_the_map(tokenizer):
    model = build(f"{BASE},tokenizer={tokenizer}")
    maps = []
    for module in model.modules():
        if isinstance(module, VisualTransformerModule):
            module.tokenizer.register_forward_hook(lambda _, inputs, output: maps.append(output[1]))
    model(make_images())
    assert len(maps) == NUM_MODULES
    for attention in maps:
        assert attention.shape == (2, 16, 8, 8)
        torch.testing.assert_close(attention.sum(dim=(2, 3)), torch.ones(2, 16))


def test_without_a_projector_later_modules_do_not_read_the_map():
    model = build(f"{BASE},projector=off")
    later = model.get_submodule(f"{STAGE}.1")
    tokens = torch.randn(1, 16, TOKEN_DIM)
    _, one = later(torch.rand(1, 32, 8, 8), tokens)
    _, other = later(torch.rand(1, 32, 8, 8), tokens)
    assert torch.equal(one, other)


def test_relations_off_keeps_tokens_apart():
    def spread(relations: str) -> torch.Tensor:
        relation = build(f"{BASE},relations={relations}").get_submodule(f"{STAGE}.0.relation")
        tokens = torch.randn(1, 16, TOKEN_DIM, generator=torch.Generator().manual_seed(0))
        moved = tokens.clone()
        moved[:, 0] += torch.randn(TOKEN_DIM, generator=torch.Generator().manual_seed(2))
        return (relation(moved) - relation(tokens))[:, 1:].abs().max()

    assert spread("none") == 0
    assert spread("graph_conv") > 1e-4
    assert spread("transformer") > 1e-4


@pytest.mark.parametrize("size", [(64, 64), (64, 160), (97, 65), (224, 224)])
@pytest.mark.parametrize("option", ["position=on", "tokenizer=pooling", "tokenizer=clustering"])
def test_an_imagenet_model_takes_images_of_any_size_from_64_pixels(option, size):
    model = create_model(f"vt_resnet18:width=8,{option}", num_classes=10).eval()  # Built for 224 pixels.
    with torch.no_grad():
        assert model(make_images(1, *size)).shape == (1, 10)


@pytest.mark.parametrize("reading", ["pooled", "full"])
def test_the_two_readings_differ_in_the_map_that_the_tokens_see(reading):
    model = create_model(f"vt_resnet50:width=4,reading={reading}", num_classes=10, image_size=64).eval()
    seen = []
    for index in range(3):
        model.get_submodule(f"layer4.{index}").register_forward_hook(
            lambda _, inputs, output: seen.append(tuple(inputs[0].shape[1:]))
        )
    model(make_images(1, 64, 64))
    side = 2 if reading == "pooled" else 4
    assert seen == [(64, side, side)] + 2 * [(32 if reading == "pooled" else 64, side, side)]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("tokenizer=pooling,position=on", "tokenizer=pooling has none"),
        ("tokenizer=static,projector=off", "the two are one model"),
        ("token_dim=100", "it must be a multiple of 8"),
        ("num_tokens=0", "'num_tokens' was given '0'"),
        ("tokenizer=dynamical", "allowed: .*'dynamic'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(options, reason):
    with pytest.raises(UserError, match=reason):
        create_model(f"vt_resnet18:{options}")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (
            "vt_resnet34:num_tokens=8,position=on,tokenizer=static",
            "vt_resnet34:tokenizer=static,position=on,num_tokens=8",
        ),
        ("vt_resnet34:token_dim=1024", "vt_resnet34"),
        ("vt_resnet34:token_dim=256,width=16", "vt_resnet34:width=16"),
        ("vt_resnet20:token_dim=128", "vt_resnet20"),
        ("vt_resnet20:token_dim=256", "vt_resnet20:token_dim=256"),
    ],
)
def test_equal_variants_have_one_spelling(written, canonical):
    assert canonical_spelling(written) == canonical


STARTS = [name for name in MODELS if name in ("vt_resnet20", "vt_resnet56")] + [
    "vt_resnet18:stem=small,width=16",
    "vt_resnet34:stem=small,width=16,tokenizer=static,position=on",
    "vt_resnet18:stem=small,width=16,projector=off",
    "vt_resnet18:stem=small,width=16,relations=graph_conv",
    "vt_resnet18:stem=small,width=16,tokenizer=clustering",
]


@pytest.mark.parametrize("variant", STARTS)
def test_gradients_of_tokens_and_convolutions_start_at_the_same_order(variant):
    model = build(variant).train()
    torch.manual_seed(0)
    images = F.interpolate(torch.randn(32, 3, 6, 6), size=(32, 32), mode="bicubic")
    F.cross_entropy(model(images), torch.arange(32) % 10).backward()
    norms = {
        name: sum(p.grad.square().sum().item() for p in child.parameters()) ** 0.5
        for name, child in model.named_children()
        if name.startswith("layer")
    }
    *convolutions, tokens = norms.values()
    assert max(convolutions) / 8 < tokens < 8 * min(convolutions), norms
