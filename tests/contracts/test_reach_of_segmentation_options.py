"""Each option of the segmentation networks changes what it names, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vtbench.models import create_model
from vtbench.profiling import profile
from vtbench.training.network import initialize_by_name

BASE = "vt_fpn_resnet18:stem=small,width=8"

# Option -> where parameters may differ in name or shape, and the roles whose MACs must change.
REACH: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "tokenizer=dynamic": ((".tokenizer.",), {"tokenizer"}),
    "tokenizer=clustering": ((".tokenizer.",), {"tokenizer"}),
    "tokenizer=pooling": ((".tokenizer.", ".token_mlp."), {"tokenizer", "token MLP"}),
    "position=on": ((".position.",), {"position"}),
    "num_tokens=4": ((".filters.",), {"tokenizer", "token attention", "token MLP", "projector"}),
    "relations=none": (("neck.relation.",), {"token attention", "token MLP"}),
    "relations=graph_conv": (("neck.relation.",), {"token attention", "token MLP"}),
    "projector=zeroed": ((), set()),
    "tokens=all": ((), {"projector"}),
    "wiring=s2": ((".projector.", ".value."), {"projector", "tokenizer"}),
    "wiring=s3": ((".projector.", ".value.", ".token_mlp."), {"projector", "tokenizer", "token MLP"}),
    "fold=on": ((), {"tokenizer"}),
    "top_down=on": ((), set()),
    "pyramid_channels=16": ((".projector.", "semantic_head.levels."), {"projector", "convolution"}),
    "head_channels=8": (("semantic_head.",), {"convolution", "classifier"}),
}


def build(option: str) -> nn.Module:
    model = create_model(f"{BASE},{option}" if option else BASE, num_classes=5, image_size=32)
    initialize_by_name(model, 0)
    return model.eval()


def list_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.named_parameters()}


def count_roles(model: nn.Module) -> dict[str, int]:
    return {part.name: part.macs for part in profile(model, 32, activations=False).roles}


def find_changed(first: dict[str, object], second: dict[str, object]) -> set[str]:
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


@pytest.mark.parametrize("option", REACH)
def test_an_option_changes_parameters_and_macs_only_in_the_parts_it_names(option: str) -> None:
    parts, roles = REACH[option]
    base, other = build(""), build(option)
    different = find_changed(list_shapes(base), list_shapes(other))
    assert {name for name in different if not any(part in name for part in parts)} == set()
    assert bool(different) == bool(parts)
    assert find_changed(count_roles(base), count_roles(other)) == roles


@pytest.mark.parametrize("option", REACH)
def test_every_option_but_folding_changes_the_output(option: str) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        is_same = torch.allclose(build("")(images), build(option)(images), atol=1e-5)
    assert is_same == (option == "fold=on")
