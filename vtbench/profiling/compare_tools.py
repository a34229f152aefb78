"""What the counters of others print for the same model, and which operators each leaves out.

Outside opinions, never the truth: they run the model with values on the CPU, in this process, and what they print is
compared with our count operator by operator. Each is asked as its documentation says and on what its users have: in
evaluation, with gradients unless it turns them off itself, and on torch's own layers in place of ours that compute the
same, because some look up exact types.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from vtbench.environment import find_version
from vtbench.profiling.errors import summarize_exception
from vtbench.profiling.inputs import make_inputs
from vtbench.profiling.sources import Source, make_subject
from vtbench.profiling.subject import kept_randomness
from vtbench.profiling.tools import TOOLS, Tool
from vtbench.profiling.trace import Trace, Tracer, trace_forward
from vtbench.records import NotMeasured
from vtbench.records.profile import Profile, ToolOpinion

_MOST_GROUPS = 14


def compare_tools(source: Source, counted: Profile) -> tuple[ToolOpinion, ...]:
    """Ask every tool that is installed about ``source`` at the input of ``counted``."""
    trace = trace_operators(source, counted.input_size)
    return tuple(_ask(tool, source, counted, trace) for tool in TOOLS)


def trace_operators(source: Source, input_shape: tuple[int, ...]) -> Trace:
    """Our trace, with fused attention under its own name however it is carried out."""
    model = make_subject(source).meta
    assert model is not None
    model.eval()
    with named_fused_attention():
        return trace_forward(model, make_inputs(input_shape, model, torch.device("meta")))


def list_operators(trace: Trace) -> dict[str, Counter[str]]:
    """Path of a module -> MACs by "operator in class of the module"."""
    kinds = {call.path: type(call.module).__name__ for call in trace.calls}
    found: dict[str, Counter[str]] = {}
    for (path, operator), macs in trace.macs.items():
        if macs:
            found.setdefault(path, Counter())[f"{operator.removeprefix('aten::')} in {kinds[path]}"] += macs
    return found


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
    """Put torch's functions and methods back, which ptflops 0.7.5 and calflops 0.3.2 leave replaced."""
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


@contextlib.contextmanager
def confined(source: Source, input_shape: tuple[int, ...]) -> Iterator[tuple[nn.Module, Tensor]]:
    """A model with values and an image for a tool that prints, warns, draws numbers or replaces functions of torch."""
    silence = io.StringIO()
    with (
        kept_randomness(),
        kept_functions(),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(silence),
        contextlib.redirect_stderr(silence),
    ):
        warnings.simplefilter("ignore")
        model = _use_plain_layers(source.build().eval())
        (image,) = make_inputs(input_shape, model, torch.device("cpu"))
        yield model, image


def _use_plain_layers(model: nn.Module) -> nn.Module:
    """Layers of ours that differ from torch's only in how they are initialised become torch's own."""
    for module in model.modules():
        kind = type(module)
        plain: Any = next((base for base in kind.__mro__ if base.__module__.startswith("torch.nn.modules.")), nn.Module)
        if kind.__module__.startswith("vtbench.") and plain is not nn.Module and kind.forward is plain.forward:
            module.__class__ = plain
    return model


def find_missed(ours: dict[str, Counter[str]], theirs: dict[str, int]) -> Counter[str]:
    """What a tool's counts of single modules fall short of ours, by operator in kind of module.

    Where several operators of a module could be meant, those whose MACs are exactly what is missing are taken, else the
    missing number is booked on the largest.
    """
    missed: Counter[str] = Counter()
    for path, parts in ours.items():
        lacking = sum(parts.values()) - theirs.get(path, 0)
        if lacking <= 0:
            continue
        exact = _find_subset(parts, lacking)
        if exact:
            missed.update({name: parts[name] for name in exact})
        else:
            missed[parts.most_common(1)[0][0]] += lacking
    return missed


def _find_subset(parts: Counter[str], total: int) -> tuple[str, ...] | None:
    largest = parts.most_common(_MOST_GROUPS)
    for size in range(len(largest) + 1):
        for chosen in combinations(largest, size):
            if sum(macs for _, macs in chosen) == total:
                return tuple(name for name, _ in chosen)
    return None


def _ask(tool: Tool, source: Source, counted: Profile, trace: Trace) -> ToolOpinion:
    version = find_version(tool.package)
    if version is None:
        return ToolOpinion(tool=tool.name, macs=NotMeasured(reason="not installed (pip install 'vtbench[compare]')"))
    try:
        with confined(source, counted.input_size) as (model, image):
            macs, by_module = tool.ask(model, image)
    except Exception as error:  # Tools fail on what they do not know in ways of their own.
        reason = summarize_exception(error.__cause__ or error)
        return ToolOpinion(tool=tool.name, version=version, macs=NotMeasured(reason=reason))
    missed = find_missed(list_operators(trace), by_module)
    extra = macs - counted.macs + sum(missed.values())
    parts = tuple(missed.most_common())
    return ToolOpinion(tool=tool.name, version=version, macs=macs, missed=parts, extra_macs=extra)
