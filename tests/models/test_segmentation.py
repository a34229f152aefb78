"""The segmentation networks against slow, literal transcriptions of their equations."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from vtbench.errors import UserError
from vtbench.layers.feature_pyramid import FeaturePyramid
from vtbench.layers.semantic_head import SemanticHead
from vtbench.models import create_model
from vtbench.models.visual_transformer_neck import WIRINGS, count_groups
from vtbench.profiling import profile
from vtbench.training.network import initialize_by_name

SIZES = ((17, 11), (9, 6), (5, 3), (3, 2))
"""Levels of an image of odd sides: none is half of the one before."""
NARROW = "stem=small,width=8"


def build(variant: str, size: tuple[int, int] = (32, 32), num_classes: int = 5) -> nn.Module:
    model = create_model(variant, num_classes=num_classes, image_size=size)
    initialize_by_name(model, 0)
    return model.eval()


def make_maps(channels: list[int], sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(2, width, *size, generator=generator) for width, size in zip(channels, sizes, strict=True)]


def convolve_cells(map_BCHW: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    """A 1x1 convolution, group by group, as matrix products over the cells."""
    ins, outs = map_BCHW.shape[1] // groups, weight.shape[0] // groups
    cells = map_BCHW.permute(0, 2, 3, 1)
    parts = [
        cells[..., group * ins : (group + 1) * ins] @ weight[group * outs : (group + 1) * outs, :, 0, 0].T
        for group in range(groups)
    ]
    return torch.cat(parts, dim=3).permute(0, 3, 1, 2)


def resize_nearest(map_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    rows = [row * map_BCHW.shape[2] // size[0] for row in range(size[0])]
    columns = [column * map_BCHW.shape[3] // size[1] for column in range(size[1])]
    return map_BCHW[:, :, rows][:, :, :, columns]


def convolve_windows(map_BCHW: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution with padding as nine shifted 1x1 convolutions."""
    height, width = map_BCHW.shape[2:]
    padded = F.pad(map_BCHW, (1, 1, 1, 1))
    total = torch.zeros(len(map_BCHW), len(weight), height, width)
    for row in range(3):
        for column in range(3):
            shifted = padded[:, :, row : row + height, column : column + width]
            total += convolve_cells(shifted, weight[:, :, row : row + 1, column : column + 1])
    return total if bias is None else total + bias[:, None, None]


def test_a_feature_pyramid_is_laterals_a_top_down_sum_and_3x3_convolutions() -> None:
    neck, maps = FeaturePyramid([4, 6, 8, 10], 12), make_maps([4, 6, 8, 10])
    for parameter in neck.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
    inner, layers = neck.pyramid.inner_blocks, neck.pyramid.layer_blocks
    summed: list[Tensor] = []
    for level in (3, 2, 1, 0):
        lateral = convolve_cells(maps[level], inner[level][0].weight) + inner[level][0].bias[:, None, None]
        summed.insert(0, lateral + resize_nearest(summed[0], SIZES[level]) if summed else lateral)
    for level, output in enumerate(neck(*maps)):
        expected = convolve_windows(summed[level], layers[level][0].weight, layers[level][0].bias)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


def test_a_feature_pyramid_is_torchvisions_with_its_names() -> None:
    theirs, neck, maps = (
        FeaturePyramidNetwork([4, 6, 8, 10], 12),
        FeaturePyramid([4, 6, 8, 10], 12),
        make_maps([4, 6, 8, 10]),
    )
    neck.pyramid.load_state_dict(theirs.state_dict())
    expected = theirs({str(level): features for level, features in enumerate(maps)})
    for output, other in zip(neck(*maps), expected.values(), strict=True):
        assert torch.equal(output, other)


def normalize_groups(map_BCHW: Tensor, norm: nn.GroupNorm) -> Tensor:
    parts = []
    for group in map_BCHW.chunk(norm.num_groups, dim=1):
        mean = group.mean(dim=(1, 2, 3), keepdim=True)
        variance = (group - mean).square().mean(dim=(1, 2, 3), keepdim=True)
        parts.append((group - mean) / (variance + norm.eps).sqrt())
    return torch.cat(parts, dim=1) * norm.weight[:, None, None] + norm.bias[:, None, None]


def test_the_head_brings_every_level_to_the_finest_step_by_step_sums_them_and_classifies() -> None:
    head, maps = SemanticHead(6, 8, 5, num_levels=4), make_maps([6, 6, 6, 6])
    paths = [[0], [0], [1, 0], [2, 1, 0]]  # The level whose size the output of each step is brought to.
    total = torch.zeros(2, 8, *SIZES[0])
    for level, path in enumerate(paths):
        hidden = maps[level]
        for step, target in enumerate(path):
            convolution, norm, _ = head.levels[level][step]
            hidden = normalize_groups(convolve_windows(hidden, convolution.weight), norm).clamp(min=0)
            if level > 0:
                hidden = F.interpolate(hidden, size=SIZES[target], mode="bilinear", align_corners=False)
        total += hidden
    expected = convolve_cells(total, head.predictor.weight) + head.predictor.bias[:, None, None]
    torch.testing.assert_close(head(*maps), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("num_levels", [1, 2, 3, 4])
def test_head_and_pyramid_state_the_macs_that_are_counted(num_levels: int) -> None:
    maps = make_maps([4, 6, 8, 10])[:num_levels]
    neck = FeaturePyramid([4, 6, 8, 10][:num_levels], 6)
    shapes = [tuple(one.shape) for one in maps]
    assert profile(neck, inputs=maps, activations=False).macs == neck.expected_macs(*shapes)
    head, equal = SemanticHead(6, 8, 5, num_levels=num_levels), make_maps([6] * 4)[:num_levels]
    shapes = [tuple(one.shape) for one in equal]
    assert profile(head, inputs=equal, activations=False).macs == head.expected_macs(*shapes)


def write_tokens(level: nn.Module, source: Tensor, wiring_has_values: bool) -> Tensor:
    """softmax_HW(X W_A)^T (X W_V), then the dense layers, each but the last rectified, all normalised."""
    attention = convolve_cells(source, level.tokenizer.filters.weight).flatten(2).softmax(dim=2)
    values = source
    if wiring_has_values:
        values = convolve_cells(source, level.tokenizer.value.conv.weight, level.tokenizer.value.conv.groups)
    tokens = attention @ values.flatten(2).transpose(1, 2)
    layers = level.token_mlp.layers
    linears = [module for module in layers.modules() if isinstance(module, nn.Linear)]
    for linear in linears:
        tokens = F.layer_norm(tokens @ linear.weight.T, (linear.out_features,))
        tokens = tokens.relu() if linear is not linears[-1] else tokens
    return tokens if linears else F.layer_norm(tokens, tokens.shape[2:])


def write_relation(relation: nn.Module, tokens: Tensor) -> Tensor:
    """T' = T + norm(softmax(K Q^T / sqrt(E)) T), T' + norm(relu(T' F1) F2), one head after the other."""
    keys, queries = tokens @ relation.key.weight.T, tokens @ relation.query.weight.T
    mixed = []
    for key, query, value in zip(keys.chunk(4, 2), queries.chunk(4, 2), tokens.chunk(4, 2), strict=True):
        mixed.append((key @ query.transpose(1, 2) / math.sqrt(key.shape[2])).softmax(dim=2) @ value)
    tokens = tokens + 0.1 * F.layer_norm(torch.cat(mixed, dim=2), tokens.shape[2:])
    expand, reduce = relation.mlp.expand, relation.mlp.reduce

    def apply(convolution: nn.Conv1d, given: Tensor) -> Tensor:
        weights = convolution.weight[:, :, 0].chunk(4)
        return torch.cat([part @ weight.T for part, weight in zip(given.chunk(4, 2), weights, strict=True)], dim=2)

    return tokens + 0.1 * F.layer_norm(apply(reduce, apply(expand, tokens).relu()), tokens.shape[2:])


def write_neck(neck: nn.Module, maps: list[Tensor], wiring: str, tokens_of: str) -> list[Tensor]:
    """VT-FPN from the definitions: tokens of every level, one relation over all, projection onto every map."""
    spec, found, kept = WIRINGS[wiring], [], []
    for level, map_BCHW in zip(neck.levels, maps, strict=True):
        lateral = level.projector.lateral
        kept.append(
            map_BCHW
            if isinstance(lateral, nn.Identity)
            else lateral[1](convolve_cells(map_BCHW, lateral[0].weight, lateral[0].groups))
        )
        source = kept[-1] if spec.tokens_from == "lateral" else map_BCHW
        found.append(write_tokens(level, source, spec.value is not None))
    related = write_relation(neck.relation, torch.cat(found, dim=1))
    outputs = []
    for index, (level, map_BCHW) in enumerate(zip(neck.levels, maps, strict=True)):
        count = found[index].shape[1]
        own = related[:, index * count : (index + 1) * count] if tokens_of == "own" else related
        projector = level.projector
        if spec.query == "convolution":
            asked = convolve_cells(map_BCHW, projector.query.weight, projector.query.groups)
        else:
            asked = kept[index] if spec.query == "lateral" else map_BCHW
        queries = asked.permute(0, 2, 3, 1).flatten(1, 2)
        keys, values = own @ projector.key.weight.T, own @ projector.value.weight.T
        parts = []
        for query, key, value in zip(queries.chunk(4, 2), keys.chunk(4, 2), values.chunk(4, 2), strict=True):
            parts.append((query @ key.transpose(1, 2) / math.sqrt(key.shape[2])).softmax(dim=2) @ value)
        projected = torch.cat(parts, dim=2).transpose(1, 2).reshape(kept[index].shape)
        outputs.append((kept[index] + projector.norm(projected)).relu())
    return outputs


@pytest.mark.parametrize("tokens", ["own", "all"])
@pytest.mark.parametrize("wiring", WIRINGS)
def test_the_neck_follows_the_equations_in_every_wiring(wiring: str, tokens: str) -> None:
    model = build(f"vt_fpn_resnet18:{NARROW},num_tokens=6,wiring={wiring},tokens={tokens}", (17, 11))
    maps = make_maps([8, 16, 32, 64])
    outputs = model.neck(*maps)
    assert len(outputs) == 4
    for output, expected in zip(outputs, write_neck(model.neck, maps, wiring, tokens), strict=True):
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


def test_the_top_down_sum_adds_every_finished_level_to_the_next_finer_one() -> None:
    plain, summed = (build(f"vt_fpn_resnet18:{NARROW},num_tokens=6{more}", (17, 11)) for more in ("", ",top_down=on"))
    maps = make_maps([8, 16, 32, 64])
    expected = plain.neck(*maps)
    for level in (2, 1, 0):
        expected[level] = expected[level] + resize_nearest(expected[level + 1], SIZES[level])
    for output, wanted in zip(summed.neck(*maps), expected, strict=True):
        torch.testing.assert_close(output, wanted)


@pytest.mark.parametrize("option", ["wiring=s1", "wiring=s2", "wiring=s5", "tokenizer=clustering", "tokenizer=dynamic"])
def test_folded_values_are_the_same_function_with_the_same_gradients(option: str) -> None:
    models = [build(f"vt_fpn_resnet18:{NARROW},{option},fold={fold}").double().train() for fold in ("off", "on")]
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)).double()
    targets = torch.randint(5, (3, 32, 32), generator=torch.Generator().manual_seed(1))
    scores = [model(images) for model in models]
    for score in scores:
        F.cross_entropy(score, targets).backward()
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-9, atol=1e-10)
    for name, parameter in models[0].named_parameters():
        torch.testing.assert_close(models[1].get_parameter(name).grad, parameter.grad, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize(("fold", "largest"), [("off", 1024 * 200 * 304), ("on", 1024 * 8)])
def test_folding_makes_no_map_as_wide_as_a_token(fold: str, largest: int) -> None:
    with torch.device("meta"):
        model = create_model(f"vt_fpn_resnet50:fold={fold}").eval()
        sizes: list[int] = []
        for level in model.neck.levels:
            level.tokenizer.value.conv.register_forward_hook(lambda _, __, output: sizes.append(output.numel()))
        model(torch.empty(1, 3, 800, 1216))
    assert max(sizes) == largest


def test_a_recurrent_tokenizer_asks_the_tokens_of_the_coarser_level() -> None:
    model = build(f"vt_fpn_resnet18:{NARROW},tokenizer=dynamic,tokens=own,relations=none")
    maps = make_maps([8, 16, 32, 64], ((32, 32), (16, 16), (8, 8), (4, 4)))
    before = model.neck(*maps)
    changed = model.neck(*maps[:2], torch.rand_like(maps[2]), maps[3])
    assert torch.equal(changed[3], before[3])
    for level in (0, 1, 2):
        assert not torch.allclose(changed[level], before[level])


@pytest.mark.parametrize("tokens", ["own", "all"])
def test_a_map_reads_its_own_tokens_or_all(tokens: str) -> None:
    model = build(f"vt_fpn_resnet18:{NARROW},tokens={tokens},relations=none")
    maps = make_maps([8, 16, 32, 64], ((32, 32), (16, 16), (8, 8), (4, 4)))
    before = model.neck(*maps)[0]
    after = model.neck(maps[0], *(torch.rand_like(one) for one in maps[1:]))[0]
    assert torch.equal(before, after) == (tokens == "own")


def test_the_transformer_relates_the_tokens_of_all_levels() -> None:
    model = build(f"vt_fpn_resnet18:{NARROW}")
    maps = make_maps([8, 16, 32, 64], ((32, 32), (16, 16), (8, 8), (4, 4)))
    before = model.neck(*maps)[0]
    after = model.neck(*maps[:3], torch.rand_like(maps[3]))[0]
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("variant", ["fpn_resnet18", "vt_fpn_resnet18"])
def test_the_trunk_has_the_names_and_the_starting_weights_of_the_classifier(variant: str) -> None:
    network, classifier = build(f"{variant}:{NARROW}"), build(f"resnet18:{NARROW}")
    weights = {name: value for name, value in classifier.state_dict().items() if not name.startswith("fc.")}
    own = network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in weights.items())
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert unexpected == []
    assert {name.partition(".")[0] for name in missing} == {"neck", "semantic_head"}


@pytest.mark.parametrize("variant", ["fpn_resnet18", "vt_fpn_resnet18"])
@pytest.mark.parametrize("size", [(119, 119), (120, 97), (33, 64)])
def test_a_network_built_for_one_size_names_every_pixel_of_images_of_another(
    variant: str, size: tuple[int, int]
) -> None:
    model = build(f"{variant}:width=8", (128, 128))
    with torch.no_grad():
        assert model(torch.randn(1, 3, *size)).shape == (1, 5, *size)


@pytest.mark.parametrize(
    ("option", "size", "words"),
    [
        ("", (64, 64), "8 tokens .* 64x64 pixels .* stage 5 has only 2x2 = 4 cells. Take num_tokens=4 or fewer"),
        ("num_tokens=4", (32, 32), "stage 5 has only 1x1 = 1 cells. Take num_tokens=1, larger images"),
        ("num_tokens=64", (128, 256), "64 tokens .* 128x256 pixels .* stage 5 has only 4x8 = 32 cells"),
    ],
)
def test_fewer_cells_than_tokens_are_refused_when_the_network_is_built(
    option: str, size: tuple[int, int], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        build(f"vt_fpn_resnet18:{option}" if option else "vt_fpn_resnet18", size)


@pytest.mark.parametrize(
    ("variant", "words"),
    [
        ("vt_fpn_resnet18:fold=on,tokenizer=pooling", "tokenizer=pooling makes no values"),
        ("vt_fpn_resnet18:fold=on,wiring=s7", "wiring=s7 makes no values"),
        ("vt_fpn_resnet18:width=2,wiring=s4", "width=2 must be a multiple of 4"),
        ("vt_fpn_resnet18:position=on,tokenizer=pooling", "tokenizer=pooling has none"),
        ("vt_fpn_resnet18:pyramid_channels=30", "comes to 30 channels; they must be a multiple of 4"),
        ("fpn_resnet18:width=1", "'head_channels' comes to 2 channels; they must be a multiple of 4"),
        ("fpn_resnet18:width=1,head_channels=4,pyramid_channels=6", "comes to 6 channels"),
    ],
)
def test_options_that_make_no_sense_are_refused_with_the_reason(variant: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(variant)


@pytest.mark.parametrize(
    ("side", "widths", "groups"),
    [
        ("dense", (512, 256), 1),
        ("in", (2048, 1024), 32),
        ("out", (2048, 1024), 16),
        ("narrower", (2048, 1024), 16),
        ("narrower", (256, 1024), 4),
        ("out", (64, 1024), 16),
        ("out", (8, 1024), 8),
        ("in", (32, 256), 1),
    ],
)
def test_a_group_is_as_wide_as_the_first_stage_as_far_as_the_widths_allow(
    side: str, widths: tuple[int, int], groups: int
) -> None:
    assert count_groups(side, *widths, 64) == groups
