"""Method A: run the model once and account for every operator that torch executes.

Each operator is counted (a formula), declared free (a reason) or refused; one that is none of these is an error, unless
a module around it states its own cost. Hooks on the modules tell which module call each operator belongs to.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vtbench.layers.stated_cost import OPERATOR_MACS
from vtbench.profiling.arguments import Arguments
from vtbench.profiling.calls import watched_calls
from vtbench.profiling.chance import chance_noted
from vtbench.profiling.contractions import ContractionFinder
from vtbench.profiling.decisions import Decisions, ReadsSeen, may_select, selects
from vtbench.profiling.errors import RefusedOperatorError
from vtbench.profiling.formulas_rare import FORMULAS, refuse_unusual_numbers
from vtbench.profiling.free_operators import RANDOM, REFUSED, find_reason_free
from vtbench.profiling.products import Contraction
from vtbench.profiling.reach import Reach
from vtbench.profiling.shortcuts import NOT_PLAIN, SHORTCUTS, DispatchMode, Shortcut, take_shortcut
from vtbench.profiling.walking import list_modules

MULTIPLY_AND_SUM = "multiply-and-sum"
"""The operator under which found contractions are booked."""
STATED = "stated"
"""The operator under which a module's stated cost is booked where operators cannot tell it."""

Shape = tuple[int, ...]


@dataclass
class UncountedOperator:
    """An operator that ran and cannot be counted: refused for a ``reason``, or unknown.

    One that ``is_constant`` was given parameters alone: what it gives need be computed only once.
    """

    name: str
    shapes: str
    reason: str | None
    is_constant: bool = False


@dataclass
class Call:
    """One call of one module: what went in, what came out, what it cost by itself and with all that it called."""

    path: str
    module: nn.Module
    parent: Call | None
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...] = ()
    own_macs: int = 0
    inclusive_macs: int = 0
    contractions: list[Contraction] = field(default_factory=list)
    uncounted: list[UncountedOperator] = field(default_factory=list)


@dataclass
class Trace:
    """Everything that ran: the module calls in order of their start, and MACs and runs per module path and operator.

    ``used`` holds the identities of the parameters that an operator took, ``decisions`` are what values decided, and
    ``higher_order`` says that functions were run as if they stood in the code.
    """

    calls: list[Call] = field(default_factory=list)
    macs: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    used: set[int] = field(default_factory=set)
    backward_macs: int = 0
    backward_uncounted: list[UncountedOperator] = field(default_factory=list)
    decisions: Decisions = field(default_factory=Decisions)
    higher_order: bool = False

    @property
    def total_macs(self) -> int:
        """MACs of the whole forward pass."""
        return self.calls[0].inclusive_macs


class Tracer(DispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators while active, under the name ``alias`` where one is set. Use it by `trace_forward`."""

    def __init__(
        self, inputs: Iterable[Tensor] = (), answers: tuple[bool, ...] = (), *, higher_order: bool = False
    ) -> None:
        super().__init__()
        self.trace = Trace(decisions=Decisions(answers), higher_order=higher_order)
        self.reach = Reach(inputs)
        self.open: list[Call] = []
        self.backward = False
        self.alias: str | None = None
        self._finder = ContractionFinder()
        self._known: dict[int, _Rule] = {}
        self._signatures: dict[Any, inspect.Signature] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and account for it."""
        kwargs = kwargs or {}
        rule = self._known.get(id(func))
        if rule is None:
            rule = self._known[id(func)] = _find_rule(func)
        if rule.decomposes:
            with self:
                out = func.decompose(*args, **kwargs)
            if out is not NotImplemented:
                return out
        if rule.is_higher_order and not self.trace.higher_order:
            raise HigherOrderError(rule.name)
        out = take_shortcut(rule.shortcut, args, kwargs)
        if out is NOT_PLAIN:
            out = func(*args, **kwargs)
        if rule.may_select and not self.backward and selects(rule.name, args) and any(map(self.reach.includes, args)):
            out = self.trace.decisions.note(rule.name, self.open[-1].path, out)
        self._account(rule, args, kwargs, out)
        return out

    def note_read(self, name: str, tensor: Tensor) -> None:
        """The model's own code takes the values of ``tensor``."""
        if self.reach.includes(tensor):
            self.trace.decisions.note(name, self.open[-1].path, out=None)

    def decide(self, question: Tensor) -> bool:
        """Answer a question that has no value: yes, unless it is asked what no would cost."""
        return bool(self.trace.decisions.note("cond", self.open[-1].path, out=True))

    def _account(self, rule: _Rule, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        macs, uncounted = 0, None
        if rule.formula is not None:
            try:
                if rule.is_of_torch:
                    refuse_unusual_numbers(args)
                macs = rule.formula(args, kwargs, out)
            except RefusedOperatorError as error:
                uncounted = UncountedOperator(rule.name, _describe_shapes(args), str(error))
        elif not rule.is_free:
            uncounted = UncountedOperator(rule.name, _describe_shapes(args), rule.refusal)
        if self.backward:
            self.trace.backward_macs += macs
            if uncounted is not None:
                self.trace.backward_uncounted.append(uncounted)
            return
        is_constant = not self.reach.observe(args, kwargs, out, is_view=rule.is_view, is_random=rule.is_random)
        _note_parameters(args, self.trace.used)
        call = self.open[-1]
        call.own_macs += macs
        key = (call.path, self.alias or rule.name)
        self.trace.runs[key] += 1
        if macs:
            self.trace.macs[key] += macs
        if uncounted is not None:
            uncounted.is_constant = is_constant
            call.uncounted.append(uncounted)
        contraction = self._finder.observe(
            rule.name, args, kwargs, out, is_view=rule.is_view, is_constant=is_constant, frame=call
        )
        if contraction is not None:
            call.contractions.append(contraction)

    def enter(self, path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A module begins its forward pass."""
        input_shapes = _input_shapes(module, args, kwargs, self._signatures)
        call = Call(path, module, self.open[-1] if self.open else None, input_shapes)
        if not self.backward:  # A module that runs again to recompute its activations.
            self.trace.calls.append(call)
        self.open.append(call)

    def leave(self, output: Any) -> None:
        """The innermost open module call ends: book the contractions found in it and add its cost to its caller's."""
        call = self.open.pop()
        call.output_shapes = _list_shapes(output)
        summed = sum(contraction.macs for contraction in call.contractions)
        if summed:
            call.own_macs += summed
            self.trace.macs[call.path, MULTIPLY_AND_SUM] += summed
            self.trace.runs[call.path, MULTIPLY_AND_SUM] += len(call.contractions)
        call.inclusive_macs += call.own_macs
        if call.parent is not None:
            call.parent.inclusive_macs += call.inclusive_macs


def _note_parameters(values: Iterable[Any], used: set[int]) -> None:
    for value in values:
        if type(value) is nn.Parameter:
            used.add(id(value))
        elif isinstance(value, (list, tuple)) and value and not isinstance(value[0], int):
            _note_parameters(value, used)


class HigherOrderError(Exception):
    """An operator that takes functions ran, and they were not to be seen."""


def trace_forward(
    model: nn.Module,
    inputs: Sequence[Any] | Arguments,
    *,
    backward: bool = False,
    answers: tuple[bool, ...] = (),
    modules: Mapping[str, nn.Module] | None = None,
) -> Trace:
    """Run ``model`` on ``inputs`` and account for it; ``backward`` also runs the gradient of the sum of the outputs.

    ``answers`` are for the first questions that values decide, ``modules`` those of the model if they are known. The
    model gets hooks for the time of the run; give a copy to keep a user's model untouched. The model's own exceptions
    pass through.
    """
    arguments = inputs if isinstance(inputs, Arguments) else Arguments(tuple(inputs))
    modules = list_modules(model) if modules is None else modules
    had_compiler = "torch._dynamo" in sys.modules
    try:
        return _trace(model, modules, arguments, backward, answers, higher_order=False)
    except HigherOrderError:
        pass
    except Exception as error:
        compiled = not had_compiler and "torch._dynamo" in sys.modules
        if not compiled and _find_origin(error) != "torch.nn.attention.flex_attention":
            raise
    return _trace(model, modules, arguments, backward, answers, higher_order=True)


def _find_origin(error: Exception) -> str:
    """The name of the module whose code raised the error."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    return str(frames.tb_frame.f_globals.get("__name__")) if frames is not None else ""


def _trace(
    model: nn.Module,
    modules: Mapping[str, nn.Module],
    arguments: Arguments,
    backward: bool,
    answers: tuple[bool, ...],
    *,
    higher_order: bool,
) -> Trace:
    tensors = (tensor for _, tensor in arguments.list_tensors())
    tracer = Tracer(tensors, answers, higher_order=higher_order)
    run_functions: Any = nullcontext()
    if higher_order:
        from vtbench.profiling.higher_order import eager_higher_order

        run_functions = eager_higher_order(tracer.decide)
    has_values = any(not tensor.is_meta for _, tensor in arguments.list_tensors())
    see_reads: Any = ReadsSeen(tracer.note_read) if has_values else nullcontext()
    with (
        watched_calls(modules, tracer.enter, tracer.leave),
        plain_execution(),
        run_functions,
        see_reads,
        torch.set_grad_enabled(backward),
        tracer,
    ):
        tracer.enter("", model, arguments.positional, arguments.named)
        with chance_noted(lambda name: tracer.trace.decisions.note(name, "", out=None), modules.values()):
            outputs = arguments.call(model)
        tracer.leave(outputs)
        if backward:
            tracer.backward = True
            _sum_outputs(outputs).backward()  # type: ignore[no-untyped-call]
    return tracer.trace


@contextmanager
def plain_execution() -> Iterator[None]:
    """Run compiled parts as they were written, and transformer layers as in training: all padding computed."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    eager = torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
    try:
        with eager:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@dataclass(frozen=True)
class _Rule:
    """What is done about one operator. One that is not counted, free or refused is decomposed if that goes."""

    name: str
    formula: Callable[..., int] | None
    is_of_torch: bool
    is_free: bool
    refusal: str | None
    is_view: bool
    decomposes: bool
    may_select: bool
    is_higher_order: bool
    is_random: bool
    shortcut: Shortcut | None


def _find_rule(func: Any) -> _Rule:
    is_higher_order = isinstance(func, torch._ops.HigherOrderOperator)
    name = str(func._schema.name) if hasattr(func, "_schema") else str(func)
    formula = FORMULAS.get(name) or _find_registered_formula(name, func)
    reason, refusal = find_reason_free(name), REFUSED.get(name)
    is_free, is_random = reason is not None, reason == RANDOM
    decomposes = not (formula or is_free or refusal) and bool(getattr(func, "_can_decompose", bool)())
    is_view = getattr(func, "is_view", False)
    shortcut = SHORTCUTS.get(func)
    selecting = may_select(name)
    is_of_torch = name in FORMULAS
    return _Rule(
        name,
        formula,
        is_of_torch,
        is_free,
        refusal,
        is_view,
        decomposes,
        selecting,
        is_higher_order,
        is_random,
        shortcut,
    )


def _find_registered_formula(name: str, func: Any) -> Callable[..., int] | None:
    """The formula that came with an operator: entered in `OPERATOR_MACS`, or with torch (in FLOPs, two a MAC)."""
    own = OPERATOR_MACS.get(name)
    if own is not None:
        return lambda args, kwargs, out: own(*args, **kwargs)
    counter = sys.modules.get("torch.utils.flop_counter")
    if counter is None or getattr(func, "namespace", "aten") in ("aten", "prims", "prim", "higher_order"):
        return None
    registered = counter.flop_registry.get(func.overloadpacket)
    if registered is None:
        return None

    def count(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
        return int(registered(*args, **kwargs, out_val=out)) // 2

    return count


def _input_shapes(
    module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], signatures: dict[Any, inspect.Signature]
) -> tuple[Shape, ...]:
    """Shapes of the tensors that the module was given, in the order of its signature, however they were passed."""
    if kwargs:
        forward = type(module).forward
        if forward not in signatures:
            signatures[forward] = inspect.signature(forward)
        try:
            args = tuple(signatures[forward].bind(module, *args, **kwargs).arguments.values())[1:]
        except TypeError:  # The call is about to fail with a better message.
            args = (*args, *kwargs.values())
    return _list_shapes(args)


def _list_shapes(value: Any) -> tuple[Shape, ...]:
    only = value[0] if type(value) is tuple and len(value) == 1 else value
    if type(only) is Tensor and not only.is_nested:
        return (tuple(only.shape),)
    return tuple(tuple(tensor.shape) for tensor in _tensors_within(value) if not tensor.is_nested)


def _describe_shapes(args: Sequence[Any]) -> str:
    return ", ".join("x".join(map(str, shape)) or "scalar" for shape in _list_shapes(args)) or "no tensors"


def _sum_outputs(outputs: Any) -> Tensor:
    sums = [tensor.sum() for tensor in _tensors_within(outputs) if tensor.requires_grad]
    if not sums:
        raise RefusedOperatorError("no output of the model depends on a parameter that wants a gradient")
    return sum(sums[1:], start=sums[0])


def _tensors_within(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors_within(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors_within(part)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from _tensors_within(getattr(value, name))
