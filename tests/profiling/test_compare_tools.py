"""What other counters print, and why it differs."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import vtbench.models  # noqa: F401  (fills the registry)
from vtbench.profiling import compare_tools
from vtbench.profiling.compare_tools import find_missed, list_operators, trace_operators
from vtbench.profiling.profile import ProfileSettings, profile_source, profile_subject
from vtbench.profiling.sources import Source, make_subject, resolve_source
from vtbench.profiling.tools import TOOLS, Answer, Tool, drop_inner, take_own
from vtbench.records import NotMeasured
from vtbench.records.profile import ToolOpinion

SHAPE = (1, 8, 6, 6)
ATTENTION = 2 * 36 * 36 * 8
LINEAR = 36 * 64
CONVOLUTION = 36 * 64


class Attending(nn.Module):
    """A convolution, a linear layer and fused attention over 36 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(8, 8, 1), nn.Linear(8, 8)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        tokens = self.linear(self.conv(map_BCHW).flatten(2).mT)[:, None]
        return functional.scaled_dot_product_attention(tokens, tokens, tokens)


class MultiHead(nn.Module):
    """``nn.MultiheadAttention`` of 36 cells among themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        tokens = map_BCHW.flatten(2).mT
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


@pytest.fixture(scope="module")
def opinions() -> dict[str, ToolOpinion]:
    source = Source("attending", Attending, (6, 6), channels=8)
    counted = profile_subject(make_subject(source), SHAPE, ProfileSettings(activations=False))
    assert counted.macs == ATTENTION + LINEAR + CONVOLUTION
    return {opinion.tool: opinion for opinion in compare_tools.compare_tools(source, counted)}


def test_every_tool_is_asked(opinions: dict[str, ToolOpinion]) -> None:
    assert list(opinions) == [tool.name for tool in TOOLS]
    assert all(isinstance(opinion.macs, int) for opinion in opinions.values())


def test_an_opinion_names_the_version_of_its_tool(opinions: dict[str, ToolOpinion]) -> None:
    assert {tool.name: version(tool.package) for tool in TOOLS} == {
        name: opinion.version for name, opinion in opinions.items()
    }


@pytest.mark.parametrize("tool", ["fvcore", "thop", "calflops"])
def test_the_tools_miss_fused_attention_on_the_cpu(opinions: dict[str, ToolOpinion], tool: str) -> None:
    """True of fvcore 0.1.5.post20221221, thop 0.1.1.post2209072238 and calflops 0.3.2, on torch 2.14.1 and 2.15.0."""
    assert opinions[tool].missed == (("scaled_dot_product_attention in Attending", ATTENTION),)


def test_torchs_counter_counts_fused_attention_on_the_cpu_from_torch_2_15_on(opinions: dict[str, ToolOpinion]) -> None:
    opinion = opinions["torch FlopCounterMode (CPU)"]
    missed = () if torch.__version__ >= (2, 15) else (("scaled_dot_product_attention in Attending", ATTENTION),)
    assert (opinion.missed, opinion.extra_macs) == (missed, 0)


def test_tools_are_asked_as_their_users_do_and_see_multi_head_attention() -> None:
    """With gradients, as the documentation of fvcore and torch has it, the module runs no fast path that hides all.

    True of fvcore 0.1.5.post20221221 and torch 2.14.1 and 2.15.0; within ``no_grad`` both count 0.
    """
    source = Source("multi-head", MultiHead, (6, 6), channels=8)
    counted = profile_subject(make_subject(source), SHAPE, ProfileSettings(activations=False))
    by_tool = {opinion.tool: opinion.macs for opinion in compare_tools.compare_tools(source, counted)}
    projections = 36 * 4 * 64
    assert counted.macs == projections + ATTENTION
    assert by_tool["fvcore"] == projections
    seen = ATTENTION if torch.__version__ >= (2, 15) else 0
    assert by_tool["torch FlopCounterMode (CPU)"] == projections + seen
    with compare_tools.confined(source, SHAPE) as (model, image), torch.no_grad():
        assert TOOLS[1].ask(model, image)[0] == 0


def test_tools_get_the_layers_of_torch_that_their_users_have() -> None:
    """ptflops 0.7.5 and thop 0.1.1.post2209072238 look layers up by their exact type."""
    source = resolve_source("resnet20")
    with compare_tools.confined(source, (1, 3, 32, 32)) as (model, image):
        assert {type(module) for module in model.modules() if isinstance(module, nn.Conv2d)} == {nn.Conv2d}
        assert model(image).shape == (1, 10)
    opinions = {opinion.tool: opinion for opinion in compare_tools.compare_tools(source, profile_source(source))}
    for tool in ("ptflops", "thop", "torchinfo", "calflops", "fvcore", "torch FlopCounterMode (CPU)"):
        assert opinions[tool].missed == (), tool
        macs = opinions[tool].macs
        assert isinstance(macs, int)
        assert 0 <= macs - 40_551_040 < 800_000, tool  # Norms, biases and the like.


def test_the_layers_of_others_are_left_as_they_are() -> None:
    class Scaled(nn.Conv2d):
        pass

    with compare_tools.confined(Source("scaled", lambda: Scaled(8, 8, 1), (6, 6), channels=8), SHAPE) as (model, _):
        assert type(model) is Scaled


def test_a_count_after_a_failure_is_what_it_would_have_been(opinions: dict[str, ToolOpinion]) -> None:
    """calflops 0.3.2 leaves functions of torch replaced when a model fails, which multiplies what it counts next."""

    class Failing(Attending):
        def forward(self, map_BCHW: Tensor) -> Tensor:
            super().forward(map_BCHW)
            if map_BCHW.device.type != "meta":
                raise RuntimeError("gives up at the end")
            return map_BCHW

    failing = Source("failing", Failing, (6, 6), channels=8)
    compare_tools.compare_tools(failing, profile_subject(make_subject(failing), SHAPE, ProfileSettings()))
    source = Source("attending", Attending, (6, 6), channels=8)
    counted = profile_subject(make_subject(source), SHAPE, ProfileSettings(activations=False))
    assert {opinion.tool: opinion for opinion in compare_tools.compare_tools(source, counted)} == opinions


@pytest.mark.slow
def test_fvcore_counts_vit_b16_as_documented() -> None:
    """True of fvcore 0.1.5.post20221221 on torch 2.14.1 and 2.15.0: 16,867 M, the fused attention missing."""
    source = resolve_source("torchvision:vit_b_16")
    opinions = {opinion.tool: opinion for opinion in compare_tools.compare_tools(source, profile_source(source))}
    macs = opinions["fvcore"].macs
    assert isinstance(macs, int)
    assert round(macs / 1e6) == 16_867


def test_the_model_and_its_functions_are_not_changed_by_the_tools(opinions: dict[str, ToolOpinion]) -> None:
    assert functional.scaled_dot_product_attention is torch._C._nn.scaled_dot_product_attention
    assert functional.linear is torch._C._nn.linear


def test_fused_attention_is_booked_under_its_own_name() -> None:
    trace = trace_operators(Source("attending", Attending, (6, 6), channels=8), SHAPE)
    groups = sum(list_operators(trace).values(), Counter[str]())
    assert groups == Counter(
        {
            "scaled_dot_product_attention in Attending": ATTENTION,
            "mm in Linear": LINEAR,
            "convolution in Conv2d": CONVOLUTION,
        }
    )


def test_every_count_is_ours_less_the_missed_and_with_the_extra(opinions: dict[str, ToolOpinion]) -> None:
    for opinion in opinions.values():
        missed = sum(macs for _, macs in opinion.missed)
        assert opinion.macs == ATTENTION + LINEAR + CONVOLUTION - missed + opinion.extra_macs


def test_torchinfo_counts_a_linear_layer_once_and_not_for_every_token(opinions: dict[str, ToolOpinion]) -> None:
    """True of torchinfo 1.8.0."""
    missed = dict(opinions["torchinfo"].missed)
    assert missed["scaled_dot_product_attention in Attending"] == ATTENTION
    assert LINEAR * 0.9 < missed["mm in Linear"] < LINEAR


def test_what_is_missed_is_told_module_by_module() -> None:
    ours = {
        "a": Counter({"addmm in A": 600, "bmm in A": 400}),
        "b": Counter({"addmm in A": 50}),
        "c": Counter({"x": 9}),
    }
    assert find_missed(ours, {"a": 1000, "b": 50, "c": 10}) == Counter()
    assert find_missed(ours, {"a": 600, "b": 50, "c": 9}) == Counter({"bmm in A": 400})
    assert find_missed(ours, {"c": 9}) == Counter({"addmm in A": 650, "bmm in A": 400})
    assert find_missed(ours, {"a": 970, "b": 50, "c": 9}) == Counter({"addmm in A": 30})


def test_counts_of_modules_are_freed_of_the_modules_inside() -> None:
    assert take_own({"": 10, "a": 7, "a.b": 3, "a.c.d": 2}) == {"": 3, "a": 2, "a.b": 3, "a.c.d": 2}


def test_counts_inside_a_counted_module_are_dropped_for_ptflops() -> None:
    """What ptflops 0.7.5 does with modules inside modules that it counts."""
    assert drop_inner({"a": 0, "a.b": 3, "a.b.c": 2, "a.bc": 4}) == {"a": 0, "a.b": 3, "a.bc": 4}


def test_a_tool_that_fails_says_why() -> None:
    class Peculiar(Attending):
        def forward(self, map_BCHW: Tensor) -> Tensor:
            if map_BCHW.device.type != "meta":
                raise RuntimeError("no values, please")
            return super().forward(map_BCHW)

    source = Source("peculiar", Peculiar, (6, 6), channels=8)
    counted = profile_subject(make_subject(source), SHAPE, ProfileSettings(activations=False))
    for opinion in compare_tools.compare_tools(source, counted):
        assert isinstance(opinion.macs, NotMeasured)
        assert opinion.version
        assert "no values, please" in opinion.macs.reason or opinion.tool == "ptflops"  # 0.7.5 swallows the cause.


def test_a_tool_that_fails_leaves_no_function_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave_a_mess(model: nn.Module, image: Tensor) -> Answer:
        functional.relu = torch.matmul = Tensor.matmul = Tensor.abs_ = nn.Module.__call__ = None
        raise RuntimeError("gave up")

    before = functional.relu, torch.matmul, Tensor.matmul, Tensor.abs_, nn.Module.__call__
    messy = Tool("messy", "torch", leave_a_mess)
    monkeypatch.setattr(compare_tools, "TOOLS", (messy,))
    source = Source("attending", Attending, (6, 6), channels=8)
    counted = profile_subject(make_subject(source), SHAPE, ProfileSettings(activations=False))
    (opinion,) = compare_tools.compare_tools(source, counted)
    assert isinstance(opinion.macs, NotMeasured)
    assert (functional.relu, torch.matmul, Tensor.matmul, Tensor.abs_, nn.Module.__call__) == before
    assert "matmul" not in vars(Tensor)


def test_a_tool_that_is_not_installed_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Tool("absent", "no_such_package", lambda model, image: (0, {}))
    monkeypatch.setattr(compare_tools, "TOOLS", (absent,))
    source = Source("attending", Attending, (6, 6), channels=8)
    counted = profile_subject(make_subject(source), SHAPE, ProfileSettings(activations=False))
    (opinion,) = compare_tools.compare_tools(source, counted)
    assert isinstance(opinion.macs, NotMeasured)
    assert "not installed" in opinion.macs.reason
    assert opinion.version is None
