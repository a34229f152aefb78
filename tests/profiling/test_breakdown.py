"""The parts of a cost: they sum to the total and stand where they belong."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from vtbench.profiling import Profile, profile
from vtbench.profiling.breakdown import compare_profiles
from vtbench.records import NotMeasured


def profile_torchvision(name: str) -> Profile:
    with torch.device("meta"):
        return profile(torchvision.models.get_model(name), 224, activations=False, name=name)


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32", "swin_t", "densenet121"])
def test_every_breakdown_sums_to_the_total(name: str) -> None:
    counted = profile_torchvision(name)
    assert sum(part.macs for part in counted.stages) == counted.macs
    assert sum(part.macs for part in counted.roles) == counted.macs
    assert sum(part.macs for part in counted.operators) == counted.macs
    assert sum(module.own_macs for module in counted.modules) == counted.macs
    assert counted.modules[0].macs == counted.macs


def test_the_children_of_a_module_sum_to_it() -> None:
    counted = profile_torchvision("resnet18")
    for module in counted.modules:
        inside = [
            row for row in counted.modules if row.path and row.path.rpartition(".")[0] == module.path and row.path
        ]
        assert module.macs == module.own_macs + sum(row.macs for row in inside)
    assert counted.modules[0].params == counted.params


class Part(nn.Module):
    role = "tokenizer"

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.conv = nn.Conv1d(3, 3, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.conv(self.linear(tokens))


class Staged(nn.Module):
    """A network with stages, a part with a role, a product in its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.more = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.part, self.fc = Part(), nn.Linear(4, 7)
        self.stage_names = {"stem": "stem", "more": "stem", "part": "stage5", "fc": "head"}

    def forward(self, images_BCHW: Tensor) -> Tensor:
        tokens = self.part(self.more(self.stem(images_BCHW)).mean(3))
        return self.fc(tokens @ tokens.mT @ tokens)


def test_stages_are_those_that_the_model_names_and_roles_those_of_the_nearest_part() -> None:
    counted = profile(Staged(), (3, 4, 4), activations=False)
    products = 2 * 3 * 4 * 3
    assert {part.name: part.macs for part in counted.stages} == {
        "stem": 2 * 16 * 9,
        "stage5": 3 * 16 + 4 * 9,
        "head": 3 * 28,
        "(model itself)": products,
    }
    assert {part.name: part.macs for part in counted.roles} == {
        "convolution": 2 * 16 * 9,
        "tokenizer": 3 * 16 + 4 * 9,
        "token attention": products,
        "classifier": 3 * 28,
    }


def test_operators_say_why_they_are_free() -> None:
    verdicts = {part.name: part.verdict for part in profile_torchvision("resnet18").operators}
    assert verdicts["aten::convolution"] == "counted"
    assert verdicts["aten::native_batch_norm"].startswith("free: normalisation")


def test_two_models_are_compared_part_by_part() -> None:
    small, large = profile_torchvision("resnet18"), profile_torchvision("resnet34")
    parts = {(part.group, part.name): part for part in compare_profiles(small, large).parts}
    assert parts["total", "MACs"].ratio == small.macs / large.macs
    assert (parts["stage", "conv1"].other, parts["stage", "conv1"].this) == (118_013_952, 118_013_952)
    for group in ("stage", "role", "operator"):
        of_group = [part for part in parts.values() if part.group == group]
        assert sum(part.other for part in of_group) == large.macs
        assert sum(part.this for part in of_group) == small.macs


def test_a_part_that_only_one_model_has_costs_nothing_in_the_other() -> None:
    with_part = profile(Staged(), (3, 4, 4), activations=False)
    without = profile(nn.Sequential(nn.Conv2d(3, 3, 1)), (3, 4, 4), activations=False)
    parts = {(part.group, part.name): part for part in compare_profiles(with_part, without).parts}
    assert (parts["role", "tokenizer"].other, parts["role", "tokenizer"].this) == (0, 84)
    assert parts["role", "tokenizer"].ratio is None
    back = {(part.group, part.name): part for part in compare_profiles(without, with_part).parts}
    assert back["role", "tokenizer"].ratio == 0


def test_parameters_buffers_and_bytes_are_told_apart() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1, dtype=torch.float64), nn.BatchNorm2d(4, dtype=torch.float64))
    model[0].bias.requires_grad_(False)
    sizes = profile(model, 8, activations=False).parameters
    assert (sizes.trainable, sizes.frozen, sizes.buffers) == (12 + 8, 4, 9)
    assert sizes.bytes_by_dtype == {"float64": 8 * (12 + 4 + 8 + 8), "int64": 8}


def test_activations_are_what_the_backward_pass_needs_each_once() -> None:
    """Linear keeps its input; ReLU keeps its output, which is the next linear's input: one memory, counted once."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))
    kept = profile(model, inputs=[torch.zeros(2, 4)]).activations
    assert not isinstance(kept, NotMeasured)
    assert (kept.elements, kept.bytes, kept.tensors) == (2 * 4 + 2 * 6, 4 * 20, 2)


def test_activations_are_those_of_real_training() -> None:
    """The sizes of what autograd saves on the CPU, for a network with norms, pooling and dropout."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.5),
        nn.Conv2d(8, 8, 3, groups=8), nn.GELU(), nn.Flatten(), nn.Linear(8 * 36, 10),
    )  # fmt: skip
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model.train()(torch.randn(2, 3, 16, 16))
    kept = profile(model, (2, 3, 16, 16)).activations
    assert not isinstance(kept, NotMeasured)
    assert kept.bytes == sum(saved.values())
    assert output.shape == (2, 10)


def test_a_training_step_costs_two_more_passes_save_for_the_gradient_of_the_images() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    step = profile(model, (2, 3, 224, 224), backward=True).training
    assert step is not None
    assert not isinstance(step, NotMeasured)
    forward = 2 * 1_814_073_344
    assert step.forward_macs == forward
    assert step.backward_macs == 2 * forward - 2 * 112**2 * 64 * 147
    assert step.macs == step.forward_macs + step.backward_macs


def test_frozen_layers_have_no_gradient_to_pay_for() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 5))
    model[0].requires_grad_(False)
    step = profile(model, inputs=[torch.zeros(3, 4)], backward=True).training
    assert step is not None
    assert not isinstance(step, NotMeasured)
    assert step.backward_macs == 3 * 6 * 5


def test_what_cannot_be_counted_in_training_says_why() -> None:
    counted = profile(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48)), 4, backward=True)
    assert isinstance(counted.activations, NotMeasured)
    assert isinstance(counted.training, NotMeasured)
    assert counted.activations.reason.endswith("a batch of 2 or more can be trained")
    assert not isinstance(
        profile(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48)), 4, batch_size=2).activations, NotMeasured
    )


def test_the_cost_of_a_batch_is_that_of_its_images() -> None:
    layer = nn.Conv2d(3, 4, 3)
    assert profile(layer, 8, batch_size=5).macs == 5 * profile(layer, 8).macs
