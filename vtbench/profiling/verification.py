"""Hold the trace (method A) against the closed forms (method B), one module call at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vtbench.profiling.closed_forms import Shape, find_form
from vtbench.profiling.errors import CostMismatchError, RefusedOperatorError, UnknownOperatorError, summarize_exception
from vtbench.profiling.trace import MULTIPLY_AND_SUM, STATED, Call, Trace
from vtbench.records.profile import Unstated

_SHOWN = 8
_WITHOUT_FOREIGN_FORMS = ("torch.", "vtbench.")
_NOTHING = 0.001
"""The share of the count below which multiply-and-sum patterns are left out of it instead of refused."""


@dataclass(frozen=True)
class Verification:
    """How far the closed forms reach. ``covered_macs`` are explained by them; ``unstated`` lists the rest by size.

    ``left_out_macs`` are those of multiply-and-sum patterns too small to refuse a model over; they are not counted.
    """

    covered_macs: int
    stated_only_macs: int
    unstated: tuple[Unstated, ...]
    left_out_macs: int = 0


@dataclass
class _StatedCost:
    """What method B says of one call: its MACs, and whether they include those of the calls inside it."""

    macs: int | None
    whole: bool


def verify(trace: Trace, *, refuse_contractions: bool, require_coverage: bool) -> Verification:
    """Compare both methods over every call; may raise one of the errors of `errors`.

    ``refuse_contractions``: a multiply-and-sum outside every module that states its cost is an error, or taken out of
    the count where all such are below 0.1 % of it. ``require_coverage``: MACs that no closed form explains are an
    error, and nothing is taken out.
    A call that states its cost and contains operators without a formula has its stated cost booked instead.
    """
    inside = _collect_shapes(trace)
    costs = {id(call): _state_cost(call, inside.get(id(call), {})) for call in trace.calls}
    stated_only = _book_stated_costs(trace, costs)
    _refuse_uncounted(trace, costs)
    left_out = _refuse_contractions(trace, costs, tolerant=not require_coverage) if refuse_contractions else 0
    _compare(trace, costs)
    covered, unstated = _measure_coverage(trace, costs)
    if require_coverage and unstated:
        listing = "; ".join(f"{one.kind} x{one.calls}: {one.macs:,} MACs" for one in unstated[:_SHOWN])
        raise CostMismatchError(
            f"the closed forms leave out {trace.total_macs - covered:,} of {trace.total_macs:,} MACs: {listing}. "
            "Give these modules a method expected_macs."
        )
    return Verification(covered, stated_only, unstated, left_out)


def _collect_shapes(trace: Trace) -> dict[int, dict[str, Shape]]:
    """For every call, the names of the modules that it called and the shape of what each gave."""
    inside: dict[int, dict[str, Shape]] = {}
    for call in trace.calls:
        if call.parent is not None and call.output_shapes:
            around = call.parent.path
            name = call.path[len(around) + 1 :] if around else call.path
            inside.setdefault(id(call.parent), {})[name] = call.output_shapes[0]
    return inside


def _state_cost(call: Call, inside: Mapping[str, Shape]) -> _StatedCost:
    module: Any = call.module
    if hasattr(module, "expected_macs"):
        try:
            return _StatedCost(int(module.expected_macs(*call.input_shapes)), whole=True)
        except Exception as error:
            shapes = ", ".join(map(str, call.input_shapes)) or "no tensors"
            raise CostMismatchError(
                f"{_where(call)} cannot state its cost for inputs of {shapes}: {summarize_exception(error)}. "
                "expected_macs takes the shape of each tensor that forward was given."
            ) from error
    form = find_form(module)
    if form is not None:
        return _StatedCost(int(form(module, call.input_shapes, call.output_shapes)), whole=False)
    if type(module).__module__.startswith(_WITHOUT_FOREIGN_FORMS):
        return _StatedCost(None, whole=False)
    return _StatedCost(_apply_foreign_form(module, call, inside), whole=False)


def _apply_foreign_form(module: Any, call: Call, inside: Mapping[str, Shape]) -> int | None:
    """What the form of a class of another library says; None for a use of it, or a version, that it does not know."""
    from vtbench.profiling.closed_forms_attention import CallShapes, find_call_form
    from vtbench.profiling.closed_forms_foreign import find_foreign_form

    foreign = find_foreign_form(module)
    if foreign is not None:
        return int(foreign(module, call.input_shapes, call.output_shapes))
    form = find_call_form(module)
    if form is None or not (call.input_shapes and call.output_shapes):
        return None
    try:
        return form(module, CallShapes(call.input_shapes[0], call.output_shapes[0], inside))
    except (LookupError, ValueError, AttributeError):
        return None


def _find_stated(call: Call | None, costs: dict[int, _StatedCost]) -> Call | None:
    """The innermost call around and including ``call`` whose cost is stated."""
    first = call
    while call is not None:
        cost = costs[id(call)]
        if cost.macs is not None and (cost.whole or call is first):
            return call
        call = call.parent
    return None


def _book_stated_costs(trace: Trace, costs: dict[int, _StatedCost]) -> int:
    """Where a stated call ran operators that have no formula, add what it states beyond what was counted."""
    booked = 0
    for call in reversed(trace.calls):  # Inner calls end before the calls around them.
        if not call.uncounted:
            continue
        around = _find_stated(call, costs)
        if around is None:
            continue
        stated = costs[id(around)].macs or 0
        missing = stated - (around.inclusive_macs if costs[id(around)].whole else around.own_macs)
        if missing > 0:
            around.own_macs += missing
            trace.macs[around.path, STATED] += missing
            trace.runs[around.path, STATED] += 1
            outer: Call | None = around
            while outer is not None:
                outer.inclusive_macs += missing
                outer = outer.parent
            booked += missing
    return booked


def _refuse_uncounted(trace: Trace, costs: dict[int, _StatedCost]) -> None:
    found = [
        (call, one)
        for call in trace.calls
        for one in call.uncounted
        if not one.is_constant and _find_stated(call, costs) is None
    ]
    unknown = [(call, one) for call, one in found if not one.reason]
    for call, first in unknown or found:
        names = sorted({one.name for _, one in unknown or found} - {first.name})
        others = f" (and {', '.join(names)} elsewhere)" if names else ""
        runs = f"{_where(call)} runs the operator {first.name} on {first.shapes}"
        if unknown:
            raise UnknownOperatorError(
                f"{runs}, whose cost is not known{others}. Give the module a method expected_macs, or register a "
                "formula with torch.utils.flop_counter.register_flop_formula."
            )
        raise RefusedOperatorError(
            f"{runs}, which is refused: {first.reason}{others}. Give the module a method expected_macs that states "
            "its cost."
        )


def _refuse_contractions(trace: Trace, costs: dict[int, _StatedCost], *, tolerant: bool) -> int:
    """Refuse them, or take those out that are nothing beside the rest; returns the MACs taken out."""
    found = [
        (call, contraction)
        for call in trace.calls
        for contraction in call.contractions
        if _find_stated(call, costs) is None
    ]
    if not found:
        return 0
    total = sum(contraction.macs for _, contraction in found)
    if tolerant and total < _NOTHING * (trace.total_macs - total):
        for call, contraction in found:
            _take_out(trace, call, contraction.macs)
        return total
    call, contraction = max(found, key=lambda pair: pair[1].macs)
    places = len({id(call) for call, _ in found})
    raise RefusedOperatorError(
        f"{_where(call)} multiplies and sums without a matrix product ({contraction.spelling}; {contraction.macs:,} "
        f"MACs if it were one; {total:,} in {places} such module calls). No operator tells what was meant. Give the "
        "module a method expected_macs, or ask for such patterns to be counted (--count-contractions)."
    )


def _take_out(trace: Trace, call: Call, macs: int) -> None:
    call.own_macs -= macs
    trace.macs[call.path, MULTIPLY_AND_SUM] -= macs
    trace.runs[call.path, MULTIPLY_AND_SUM] -= 1
    outer: Call | None = call
    while outer is not None:
        outer.inclusive_macs -= macs
        outer = outer.parent


def _compare(trace: Trace, costs: dict[int, _StatedCost]) -> None:
    rows = []
    for call in trace.calls:
        cost = costs[id(call)]
        if cost.macs is None:
            continue
        counted = call.inclusive_macs if cost.whole else call.own_macs
        if counted != cost.macs:
            rows.append((_where(call), counted, cost.macs))
    if not rows:
        return
    shown = "\n".join(
        f"  {where}: traced {counted:,}, stated {stated:,}, difference {stated - counted:+,}"
        for where, counted, stated in rows[:_SHOWN]
    )
    more = f"\n  and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    raise CostMismatchError(
        f"the traced operators and the closed forms disagree in {len(rows)} module calls, so one of them is wrong "
        f"(MACs):\n{shown}{more}"
    )


def _measure_coverage(trace: Trace, costs: dict[int, _StatedCost]) -> tuple[int, tuple[Unstated, ...]]:
    calls: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    for call in trace.calls:
        if call.own_macs and _find_stated(call, costs) is None:
            name = type(call.module).__name__
            calls[name] += 1
            macs[name] += call.own_macs
    unstated = tuple(Unstated(kind=name, calls=calls[name], macs=count) for name, count in macs.most_common())
    return trace.total_macs - sum(macs.values()), unstated


def _where(call: Call) -> str:
    kind = type(call.module).__name__
    return f"{call.path} ({kind})" if call.path else f"the model itself ({kind})"
