"""Where the MACs are: one total split by stage, role, module and operator, and beside that of another model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import nn

from vtbench.layers.stated_cost import ROLES
from vtbench.profiling.formulas_rare import FORMULAS
from vtbench.profiling.free_operators import find_reason_free
from vtbench.profiling.trace import MULTIPLY_AND_SUM, STATED, Trace
from vtbench.profiling.walking import Contents
from vtbench.records.profile import Difference, ModuleCost, OperatorCost, Part, PartDifference, Profile

THE_MODEL = "(model itself)"
"""The part that MACs belong to which the model's own ``forward`` spends."""
_CONVOLUTIONS = ("convolution", "conv2d")
_PRODUCTS_OF_ACTIVATIONS = ("attention", "bmm", "cdist")


def split_by_stage(model: nn.Module, trace: Trace) -> tuple[Part, ...]:
    """By the stages that the model names (``stage_names``), else by its direct children, in order of execution."""
    names = getattr(model, "stage_names", None)
    names = names if isinstance(names, dict) else {}
    totals: Counter[str] = Counter()
    for call in trace.calls:
        child = call.path.partition(".")[0]
        if call.path and child:
            totals[str(names.get(child, child))] += 0
    for (path, _), macs in trace.macs.items():
        child = path.partition(".")[0]
        totals[str(names.get(child, child)) if child else THE_MODEL] += macs
    return tuple(Part(name=name, macs=macs) for name, macs in totals.items() if macs)


def split_by_role(contents: Contents, trace: Trace) -> tuple[Part, ...]:
    """By what the MACs are spent on: the role that the nearest module states, else what layer and operator suggest."""
    classifier = _find_classifier(trace)
    totals: Counter[str] = Counter()
    for (path, operator), macs in trace.macs.items():
        if macs:
            totals[_find_role(contents.modules, path, operator, classifier)] += macs
    order = {role: place for place, role in enumerate(ROLES)}
    return tuple(
        Part(name=role, macs=totals[role]) for role in sorted(totals, key=lambda role: (order.get(role, 99), role))
    )


def split_by_module(contents: Contents, trace: Trace) -> tuple[ModuleCost, ...]:
    """Every module that ran, in the order in which the model names them; a shared one under its first name."""
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for (path, _), macs in trace.macs.items():
        own[path] += macs
        inclusive[""] += macs
        prefix = path
        while prefix:
            inclusive[prefix] += macs
            prefix = prefix.rpartition(".")[0]
    calls = Counter(call.path for call in trace.calls)
    params: Counter[str] = Counter()
    for name, parameter in contents.parameters.items():
        prefix = name
        while prefix:
            prefix = prefix.rpartition(".")[0]
            params[prefix] += parameter.numel()
    return tuple(
        ModuleCost(
            path=path,
            kind=type(module).__name__,
            macs=inclusive[path],
            own_macs=own[path],
            calls=calls[path],
            params=params[path],
        )
        for path, module in contents.modules.items()
        if calls[path] or inclusive[path]
    )


def split_by_operator(trace: Trace) -> tuple[OperatorCost, ...]:
    """Every operator that ran, the costly first, then the free ones by name with the reason."""
    macs: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    for (_, operator), count in trace.runs.items():
        runs[operator] += count
    for (_, operator), count in trace.macs.items():
        macs[operator] += count
    return tuple(
        OperatorCost(name=name, macs=macs[name], runs=runs[name], verdict=_explain_count(name, macs[name]))
        for name in sorted(runs, key=lambda name: (-macs[name], name))
    )


def _explain_count(operator: str, macs: int) -> str:
    if operator == MULTIPLY_AND_SUM:
        return "counted: products that are summed without a matrix product"
    if operator == STATED:
        return "counted: as the module states, no operator tells"
    if operator in FORMULAS or macs:
        return "counted"
    reason = find_reason_free(operator)
    return f"free: {reason}" if reason else "within a module that states its cost"


def _find_classifier(trace: Trace) -> str | None:
    """The direct child that ends the model, if all that it does is linear."""
    costly = [call for call in trace.calls if call.own_macs]
    if not costly:
        return None
    child = costly[-1].path.partition(".")[0]
    operators = {operator for (path, operator), macs in trace.macs.items() if macs and path.partition(".")[0] == child}
    return child if child and operators <= {"aten::mm", "aten::addmm"} else None


def _find_role(modules: dict[str, nn.Module], path: str, operator: str, classifier: str | None) -> str:
    attends = False
    prefix = path
    while True:
        module = modules[prefix]
        role = getattr(module, "role", None)
        if isinstance(role, str) and role in ROLES:
            return role
        attends = attends or "attention" in type(module).__name__.lower() or "attn" in type(module).__name__.lower()
        if not prefix:
            break
        prefix = prefix.rpartition(".")[0]
    if any(word in operator for word in _CONVOLUTIONS):
        return "convolution"
    if attends or any(word in operator for word in _PRODUCTS_OF_ACTIVATIONS):
        return "token attention"
    return "classifier" if classifier and path.partition(".")[0] == classifier else "linear"


def compare_profiles(this: Profile, other: Profile) -> Difference:
    """Pair the parts of both by name; a part that only one of them has costs 0 in the other."""
    rows = [
        PartDifference(group="total", name="MACs", other=other.macs, this=this.macs),
        PartDifference(group="parameters", name="parameters", other=other.params, this=this.params),
        *_pair("stage", other.stages, this.stages),
        *_pair("role", other.roles, this.roles),
        *_pair(
            "operator",
            [Part(name=found.name, macs=found.macs) for found in other.operators if found.macs],
            [Part(name=found.name, macs=found.macs) for found in this.operators if found.macs],
        ),
    ]
    return Difference(other=other.model, parts=tuple(rows))


def _pair(group: str, other: Sequence[Part], this: Sequence[Part]) -> list[PartDifference]:
    others = {part.name: part.macs for part in other}
    these = {part.name: part.macs for part in this}
    names = list(others)
    for name in these:  # A part that is new stands after the one that it follows in its own model.
        if name not in others:
            before = [known for known in list(these)[: list(these).index(name)] if known in names]
            names.insert(names.index(before[-1]) + 1 if before else 0, name)
    return [
        PartDifference(group=group, name=name, other=others.get(name, 0), this=these.get(name, 0)) for name in names
    ]
