"""One battery over every registered model, and over every option of the visual transformers at a small scale.

Networks for ImageNet run on the meta device here, where shapes and gradients flow but nothing is computed; the slow
tests compute them at 64 pixels.
"""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vtbench.layers.residual_branch import StochasticDepth
from vtbench.models import MODELS, create_model
from vtbench.training.network import initialize_by_name, set_regularization
from vtbench.variants import canonical_spelling, split_variant

NUM_CLASSES = 7
NUM_STEPS = 600
"""Steps to learn 64 images by heart; most networks need fewer than 100."""
LEAST_KNOWN = {"classification": 1.0, "segmentation": 0.95}
"""Share of the images, or of their pixels, that is to be known by heart: borders of fields take longest."""
NARROW = "vt_resnet18:stem=small,width=8"
NARROW_FPN = "vt_fpn_resnet18:stem=small,width=8"
SMALL = [name for name in MODELS if max(MODELS[name].image_size) <= 32] + [
    "resnet18:stem=small,width=8",
    "resnet20:shortcut=projection",
    "san_small:attention=pairwise",
    NARROW,
    f"{NARROW},tokenizer=static",
    f"{NARROW},tokenizer=pooling",
    f"{NARROW},tokenizer=clustering",
    f"{NARROW},position=on",
    f"{NARROW},num_tokens=5",
    f"{NARROW},token_dim=64",
    f"{NARROW},projector=off",
    f"{NARROW},projector=zeroed",
    f"{NARROW},relations=none",
    f"{NARROW},relations=graph_conv",
    f"{NARROW},position=on,form=paper",
    f"{NARROW},projector=off,carry=off",
    "vt_resnet50:stem=small,width=4",
    "vt_resnet50:stem=small,width=4,reading=full",
    "vt_resnet20:tokenizer=static,position=on",
    "fpn_resnet18:stem=small,width=8",
    NARROW_FPN,
    f"{NARROW_FPN},tokenizer=dynamic",
    f"{NARROW_FPN},tokenizer=pooling",
    f"{NARROW_FPN},tokenizer=clustering",
    f"{NARROW_FPN},position=on",
    f"{NARROW_FPN},projector=zeroed",
    f"{NARROW_FPN},relations=graph_conv,tokens=all",
    f"{NARROW_FPN},fold=on,top_down=on",
    f"{NARROW_FPN},tokenizer=dynamic,position=on,form=paper",
    f"{NARROW_FPN},wiring=s2",
    f"{NARROW_FPN},wiring=s3",
    f"{NARROW_FPN},wiring=s4",
    f"{NARROW_FPN},wiring=s5,fold=on",
    f"{NARROW_FPN},wiring=s7",
    f"{NARROW_FPN},tokens=all,wiring=s8",
    "vt_fpn_resnet50:stem=small,width=4",
]
LEAST_SIZES = {"san": (224, 256), "vit": (64, 64), "deit": (64, 64), "vt_fpn_resnet": (96, 128)}
"""Families that cannot take 64x96 pixels, and say so: windows larger than the map, square images only, 8 tokens of 6
cells."""
LARGE = [name for name in MODELS if max(MODELS[name].image_size) > 32]


@functools.lru_cache(maxsize=len(SMALL))
def build_small(variant: str) -> nn.Module:
    """One network for all tests of the variant; a test that changes it must build its own."""
    return build(variant)


def build(variant: str, size: tuple[int, int] = (32, 32)) -> nn.Module:
    model = create_model(variant, num_classes=NUM_CLASSES, image_size=size)
    initialize_by_name(model, 0)
    return model.eval()


def make_images(*shape: int) -> torch.Tensor:
    """Smooth random images: noise of a few cells blown up, so that neighbouring pixels agree as in photographs."""
    generator = torch.Generator().manual_seed(0)
    batch, height, width = shape
    return F.interpolate(torch.randn(batch, 3, 6, 6, generator=generator), size=(height, width), mode="bicubic")


def find_task(variant: str) -> str:
    return MODELS[split_variant(variant)[0]].task


def check_shape(variant: str, scores: torch.Tensor, batch: int, size: tuple[int, int]) -> None:
    expected = (batch, NUM_CLASSES) if find_task(variant) == "classification" else (batch, NUM_CLASSES, *size)
    assert tuple(scores.shape) == expected


def make_targets(variant: str, batch: int, size: tuple[int, int] = (32, 32)) -> torch.Tensor:
    """A class for each image; or for each pixel, in 4x4 fields that have nothing to do with what the image shows."""
    if find_task(variant) == "classification":
        return torch.arange(batch) % NUM_CLASSES
    fields = torch.randint(NUM_CLASSES, (batch, 1, 4, 4), generator=torch.Generator().manual_seed(1))
    return F.interpolate(fields.float(), size=size)[:, 0].long()


@pytest.mark.parametrize("variant", SMALL)
def test_scores_are_finite_and_the_same_each_time(variant):
    images = make_images(3, 32, 32)
    with torch.no_grad():
        first, second = build_small(variant)(images), build_small(variant)(images)
    check_shape(variant, first, 3, (32, 32))
    assert torch.isfinite(first).all()
    assert torch.equal(first, second)


@pytest.mark.parametrize("variant", SMALL)
def test_an_image_does_not_see_the_rest_of_its_batch(variant):
    images = make_images(4, 32, 32)
    with torch.no_grad():
        together, alone = build_small(variant)(images), build_small(variant)(images[1:2])
    torch.testing.assert_close(together[1:2], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-6)


@pytest.mark.parametrize("variant", SMALL)
def test_gradients_reach_every_parameter(variant):
    model = build(variant).train()
    F.cross_entropy(model(make_images(4, 32, 32)), make_targets(variant, 4)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if variant.startswith("vt_") and "zeroed" not in variant:
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("size", [(32, 48), (35, 29)], ids=["wide", "odd"])
@pytest.mark.parametrize("variant", SMALL)
def test_an_image_need_not_be_square_nor_have_even_sides(variant, size):
    model = build(variant, size)
    with torch.no_grad():
        check_shape(variant, model(make_images(2, *size)), 2, size)


@pytest.mark.parametrize("variant", SMALL)
@torch.no_grad()
def test_dropout_and_stochastic_depth_act_in_training_and_only_there(variant):
    images = make_images(2, 32, 32)
    model = build(variant)
    before = model(images)
    if any(isinstance(module, StochasticDepth) for module in model.modules()):
        set_regularization(model, stochastic_depth=0.9)
        torch.testing.assert_close(model(images), before)
        assert_random_in_training(model, images)
    set_regularization(model, dropout=0.5)
    torch.testing.assert_close(model(images), before)
    assert_random_in_training(model, images)


def assert_random_in_training(model: nn.Module, images: torch.Tensor) -> None:
    for module in model.modules():  # Statistics of the batch would change with every call and hide what is random.
        module.training = isinstance(module, (nn.Dropout, StochasticDepth))
    torch.manual_seed(0)
    first = model(images)
    is_random = any(not torch.allclose(first, model(images)) for _ in range(3))
    model.eval()
    assert is_random


@pytest.mark.parametrize("variant", SMALL)
def test_the_seed_fixes_the_weights(variant):
    first, second = build(variant), create_model(variant, num_classes=NUM_CLASSES, image_size=(32, 32))
    initialize_by_name(second, 0)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name)), name


@pytest.mark.parametrize("name", LARGE)
def test_large_networks_have_the_right_shapes_and_reach_every_parameter(name):
    size = LEAST_SIZES.get(MODELS[name].family, (64, 96))
    with torch.device("meta"):
        model = create_model(name, num_classes=NUM_CLASSES, image_size=size).train()
        scores = model(torch.empty(2, 3, *size))
    check_shape(name, scores, 2, size)
    scores.sum().backward()
    assert [path for path, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", list(MODELS))
def test_every_child_belongs_to_a_stage(name):
    with torch.device("meta"):
        model = create_model(name)
    children = {child for child, module in model.named_children() if next(module.parameters(), None) is not None}
    assert children <= set(model.stage_names)
    assert set(model.stage_names.values()) <= {"stem", "neck", "head"} | {f"stage{number}" for number in range(1, 6)}
    assert ("neck" in model.stage_names.values()) == (MODELS[name].task == "segmentation")


NEEDS = {"encoding": {"position": "on"}, "filters": {"tokenizer": "dynamic"}}
"""Options that say something only beside others."""


def spell_choices(name: str) -> list[str]:
    """The preset with each of its options set to each other allowed value, or to another number."""
    spec = MODELS[name]
    spellings = []
    for option, schema in type(spec.options).model_json_schema()["properties"].items():
        default = getattr(spec.options, option)
        others = schema.get("enum") or ([default * 2] if isinstance(default, int) and default else [])
        beside = [
            f"{need}={value},"
            for need, value in NEEDS.get(option, {}).items()
            if value != getattr(spec.options, need, value)
        ]
        spellings += [f"{name}:{''.join(beside)}{option}={value}" for value in others if value != default]
    return spellings


@pytest.mark.parametrize("name", list(MODELS))
def test_a_spelling_comes_back_as_it_was(name):
    assert canonical_spelling(name) == name
    assert MODELS[name].spell(MODELS[name].options) == name
    for spelling in spell_choices(name):
        assert canonical_spelling(spelling) == spelling


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_networks_compute_at_64_pixels(name):
    size = LEAST_SIZES.get(MODELS[name].family, (64, 64))
    model = build(name, size).double()  # Untrained and unnormalised, a deep network blows float32 rounding up.
    images = make_images(2, *size).double()
    with torch.no_grad():
        together, alone = model(images), model(images[1:])
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together[1:], alone, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.not_in_ci
@pytest.mark.parametrize("variant", SMALL)
def test_64_images_can_be_learned_by_heart(variant):
    model = build(variant).train()
    images, labels = make_images(64, 32, 32), make_targets(variant, 64)
    least = LEAST_KNOWN[find_task(variant)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(NUM_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * min(1.0, (step + 1) / 20)
        scores = model(images)
        if (scores.argmax(dim=1) == labels).double().mean() >= least:
            return
        optimizer.zero_grad()
        F.cross_entropy(scores, labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
    accuracy = (scores.argmax(dim=1) == labels).double().mean().item()
    raise AssertionError(f"after {NUM_STEPS} steps {accuracy:.0%} of 64 images (or their pixels) are known")
