"""What the counters of others print for the same model, and which operators each leaves out.

Outside opinions, never the truth: they run the model with values on the CPU, in this process, and what they print is
compared with our count operator by operator.
"""

from __future__ import annotations

import contextlib
import io
import sys
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from vtbench.profiling.failures import describe_failure
from vtbench.profiling.inputs import make_inputs
from vtbench.profiling.meta_copy import kept_randomness
from vtbench.profiling.profile import Profile
from vtbench.profiling.sources import Source, make_subject
from vtbench.profiling.trace import Trace, Tracer, trace_forward
from vtbench.records import NotMeasured, Record

_MOST_GROUPS = 14
_MOST_EXTRA = 0.03
"""How much of our count the things that we do not count (normalisation, biases, pooling) may come to."""


class ToolOpinion(Record):
    """What one tool prints, in MACs, and the operators that explain the difference.

    ``missed`` are (operator in kind of module, MACs). ``extra_macs`` is what the tool counts and we do not. Both are
    None where no set of operators left out explains the tool's count.
    """

    tool: str
    macs: int | NotMeasured
    missed: tuple[tuple[str, int], ...] | None = None
    extra_macs: int | None = None


@dataclass(frozen=True)
class _Tool:
    """A counter: the package that holds it and how it is asked."""

    name: str
    package: str
    ask: Callable[[nn.Module, Tensor], int]


def compare_tools(source: Source, counted: Profile) -> tuple[ToolOpinion, ...]:
    """Ask every tool that is installed about ``source`` at the input of ``counted``."""
    groups = group_operators(source, counted.input_size)
    return tuple(_ask(tool, source, counted, groups) for tool in TOOLS)


def group_operators(source: Source, input_shape: tuple[int, ...]) -> Counter[str]:
    """Our MACs by operator and kind of module, fused attention under its own name however it is carried out."""
    model = make_subject(source).meta
    assert model is not None
    model.eval()
    with named_fused_attention():
        trace = trace_forward(model, make_inputs(input_shape, model, torch.device("meta")))
    return group_trace(trace)


def group_trace(trace: Trace) -> Counter[str]:
    """MACs by operator, class of the module that ran it, and class of the module around that."""
    kinds = {call.path: type(call.module).__name__ for call in trace.calls}
    for call in trace.calls:
        if call.parent is not None and call.parent.path:
            kinds[call.path] += f" of {type(call.parent.module).__name__}"
    groups: Counter[str] = Counter()
    for (path, operator), macs in trace.macs.items():
        if macs:
            groups[f"{operator.removeprefix('aten::')} in {kinds[path]}"] += macs
    return groups


@contextlib.contextmanager
def named_fused_attention() -> Iterator[None]:
    """Book what ``scaled_dot_product_attention`` runs under its name instead of the products that it is made of."""
    functional: Any = torch.nn.functional
    original = functional.scaled_dot_product_attention

    def named(*args: Any, **kwargs: Any) -> Any:
        tracer = _get_current_dispatch_mode()
        if not isinstance(tracer, Tracer):
            return original(*args, **kwargs)
        tracer.alias = "aten::scaled_dot_product_attention"
        try:
            return original(*args, **kwargs)
        finally:
            tracer.alias = None

    functional.scaled_dot_product_attention = named
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original


@contextlib.contextmanager
def kept_functions() -> Iterator[None]:
    """Put torch's functions and methods back, which some tools replace and, when they fail, leave replaced."""
    owners: tuple[Any, ...] = (torch, torch.nn.functional, Tensor, nn.Module)
    before = [dict(vars(owner)) for owner in owners]
    try:
        yield
    finally:
        for owner, known in zip(owners, before, strict=True):
            for name, value in list(vars(owner).items()):
                if name not in known:
                    if isinstance(owner, type):  # It hides what the class inherits.
                        delattr(owner, name)
                elif known[name] is not value:
                    setattr(owner, name, known[name])


def explain_difference(ours: int, theirs: int, groups: Counter[str]) -> tuple[tuple[tuple[str, int], ...], int] | None:
    """The fewest groups whose absence leaves a small surplus that norms, biases and the like can be, and the surplus.

    None if no set of groups does.
    """
    largest = groups.most_common(_MOST_GROUPS)
    found: tuple[tuple[str, int], ...] | None = None
    surplus = 0
    for size in range(len(largest) + 1):
        for chosen in combinations(largest, size):
            extra = theirs - (ours - sum(macs for _, macs in chosen))
            if 0 <= extra <= _MOST_EXTRA * ours and (found is None or extra < surplus):
                found, surplus = chosen, extra
        if found is not None:
            return found, surplus
    return None


def _ask(tool: _Tool, source: Source, counted: Profile, groups: Counter[str]) -> ToolOpinion:
    if find_spec(tool.package) is None:
        return ToolOpinion(tool=tool.name, macs=NotMeasured(reason="not installed (pip install 'vtbench[compare]')"))
    silence = io.StringIO()
    try:
        with (
            kept_randomness(),
            kept_functions(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(silence),
            contextlib.redirect_stderr(silence),
        ):
            warnings.simplefilter("ignore")
            model = source.build().eval()
            (image,) = make_inputs(counted.input_size, model, torch.device("cpu"))
            with torch.no_grad():
                macs = int(tool.ask(model, image))
    except Exception as error:  # Tools fail on what they do not know in ways of their own.
        return ToolOpinion(tool=tool.name, macs=NotMeasured(reason=describe_failure(error.__cause__ or error)))
    explanation = explain_difference(counted.macs, macs, groups)
    if explanation is None:
        return ToolOpinion(tool=tool.name, macs=macs)
    return ToolOpinion(tool=tool.name, macs=macs, missed=explanation[0], extra_macs=explanation[1])


def _ask_fvcore(model: nn.Module, image: Tensor) -> int:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model, image)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return int(analysis.total())


def _ask_torch(model: nn.Module, image: Tensor) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(image)
    return int(counter.get_total_flops()) // 2


def _ask_ptflops(model: nn.Module, image: Tensor) -> int:
    from ptflops import get_model_complexity_info

    macs, _ = get_model_complexity_info(
        model,
        tuple(image.shape[1:]),
        input_constructor=lambda _: image,
        as_strings=False,
        print_per_layer_stat=False,
        verbose=False,
    )
    return int(macs)


def _ask_thop(model: nn.Module, image: Tensor) -> int:
    import thop

    macs, _ = thop.profile(model, inputs=(image,), verbose=False)
    return int(macs)


def _ask_torchinfo(model: nn.Module, image: Tensor) -> int:
    import torchinfo

    return int(torchinfo.summary(model, input_data=image, verbose=0).total_mult_adds)


def _ask_calflops(model: nn.Module, image: Tensor) -> int:
    with _importable_without_transformers():
        from calflops import calculate_flops
    _, macs, _ = calculate_flops(
        model, input_shape=tuple(image.shape), output_as_string=False, print_results=False, print_detailed=False
    )
    return int(macs)


@contextlib.contextmanager
def _importable_without_transformers() -> Iterator[None]:
    """Calflops imports transformers for a tokenizer that only language models need."""
    if find_spec("transformers") is not None:
        yield
        return
    stand_in = types.ModuleType("transformers")
    stand_in.__spec__ = ModuleSpec("transformers", None)
    vars(stand_in)["AutoTokenizer"] = object
    sys.modules["transformers"] = stand_in
    try:
        yield
    finally:
        del sys.modules["transformers"]


TOOLS = (
    _Tool("fvcore", "fvcore", _ask_fvcore),
    _Tool("torch FlopCounterMode (CPU)", "torch", _ask_torch),
    _Tool("ptflops", "ptflops", _ask_ptflops),
    _Tool("thop", "thop", _ask_thop),
    _Tool("torchinfo", "torchinfo", _ask_torchinfo),
    _Tool("calflops", "calflops", _ask_calflops),
)
"""The counters that are asked, in the order of the table."""
