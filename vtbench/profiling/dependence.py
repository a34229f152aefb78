"""Whether values decide what a model costs: found by tracing it with other values and other answers.

A pass on noise is one way through a detector, an early exit, experts or pruned tokens. Its questions are answered the
other way one by one, and everything is drawn anew once; a model's own limits bound what selections can leave.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from vtbench.profiling.arguments import make_arguments
from vtbench.profiling.chance import NUMPY_CHANCE, PYTHON_CHANCE, drawn_outside
from vtbench.profiling.decisions import OUTSIDE
from vtbench.profiling.execution import Run
from vtbench.profiling.subject import Subject
from vtbench.profiling.trace import Trace, trace_forward
from vtbench.profiling.verification import verify
from vtbench.profiling.walking import Contents
from vtbench.records.profile import ValueDependence, ValueOperator

_MOST_WAYS = 16
_NUM_DRAWS = 8
_MOST_LISTED = 4
_SHOWN_PLACES = 3
_MOST_SECONDS = 10.0


def lift_thresholds(model: nn.Module) -> None:
    """Let everything pass that a detector selects by score, overlap and size, so that only its limits cut it off."""
    modules: Iterator[Any] = model.modules()
    for module in modules:
        if hasattr(module, "score_thresh") and hasattr(module, "nms_thresh"):
            module.score_thresh, module.nms_thresh = -1.0, 1.0
            if isinstance(getattr(module, "min_size", None), float):
                module.min_size = -1.0


def describe_limits(model: nn.Module) -> str | None:
    """The most proposals and detections an image that the model itself allows, in words."""
    limits: list[str] = []
    for module in model.modules():
        proposals = getattr(module, "_post_nms_top_n", None)
        if isinstance(proposals, dict):
            limits.append(f"{proposals['training' if module.training else 'testing']:,} proposals")
        detections = getattr(module, "detections_per_img", None)
        if isinstance(detections, int):
            limits.append(f"{detections:,} detections")
    return " and ".join(limits) or None


def examine_dependence(
    subject: Subject, given: Any, run: Run, *, training: bool, count_contractions: bool, at_limits: bool
) -> tuple[ValueDependence | None, Run]:
    """What values decide, None if nothing, and the run that is to be shown: at limits the dearest, else the first."""
    decisions = run.trace.decisions

    def confirm(trace: Trace) -> int:
        verify(trace, refuse_contractions=not count_contractions, require_coverage=False)
        return trace.total_macs

    ways = [(run.trace.total_macs, run)]
    limits = describe_limits(run.model)
    start, is_complete = time.monotonic(), True
    if run.device.type != "meta" and not (at_limits and limits):
        for other in _draw_anew(subject, given, training=training, at_limits=at_limits):
            ways.append((confirm(other.trace), other))
    for other in _draw_otherwise(run):
        ways.append((confirm(other.trace), other))
    waiting = _list_other_answers((), decisions.taken)
    while waiting:
        if len(ways) >= _MOST_WAYS or (time.monotonic() - start) * (1 + 1 / len(ways)) > _MOST_SECONDS:
            is_complete = False
            break
        answers = waiting.pop()
        try:
            trace = trace_forward(run.model, run.arguments, answers=answers)
            ways.append((confirm(trace), replace(run, trace=trace)))
        except Exception:  # An answer that no values give, such as that of an assertion.
            continue
        waiting += _list_other_answers(answers, trace.decisions.taken)
    counts = tuple(sorted({macs for macs, _ in ways}))
    if not decisions.operators and len(counts) == 1:
        return None, run
    found = ValueDependence(
        operators=tuple(
            ValueOperator(name=name, module=path, runs=runs) for (name, path), runs in decisions.operators.items()
        ),
        macs=counts,
        num_traces=len(ways),
        is_complete=is_complete and len(decisions.taken) == sum(decisions.operators.values()),
        limits=limits,
        at_limits=at_limits,
    )
    same = [(macs, way) for macs, way in ways if way.model is run.model]
    shown = max(same, key=lambda way: way[0])[1] if at_limits else run
    for _, way in same:  # Parameters that another way takes are no idle ones.
        shown.trace.used.update(way.trace.used)
    return found, shown


def describe_dependence(found: ValueDependence) -> str:
    """One sentence: by which operators, what the passes cost, and what the model's own limits are."""
    places: dict[str, list[str]] = {}
    for one in found.operators:
        names = places.setdefault(one.module or "the model itself", [])
        names.append("item" if one.name == "aten::_local_scalar_dense" else one.name.rpartition("::")[2])
    shown = [f"{', '.join(names)} in {place}" for place, names in list(places.items())[:_SHOWN_PLACES]]
    more = f" and {len(places) - _SHOWN_PLACES} modules more" if len(places) > _SHOWN_PLACES else ""
    by = f" ({'; '.join(shown)}{more})" if shown else ""
    lowest, highest = f"{found.macs[0]:,}", f"{found.macs[-1]:,}"
    if found.at_limits and found.limits:
        cost = f"this is at the model's limits of {found.limits} an image"
    elif len(found.macs) == 1:
        cost = f"{found.num_traces} passes with other values cost the same"
    elif found.is_complete and len(found.macs) <= _MOST_LISTED:
        cost = f"{', '.join(f'{macs:,}' for macs in found.macs[:-1])} or {highest} MACs"
    else:
        cost = f"{lowest} to {highest} MACs in {found.num_traces} passes with other values, which need not be all"
    mend = ""
    if found.limits and not found.at_limits:
        mend = f"; the model allows {found.limits} an image, which --at-limits counts"
    elif len(found.macs) > 1 and not found.at_limits:
        mend = "; --at-limits counts the dearest"
    if any(one.name in OUTSIDE for one in found.operators):
        mend += "; what is computed of them outside of torch is not counted"
    lead = "values decide what runs" if len(found.macs) == 1 and not found.at_limits else "the cost depends on values"
    return f"{lead}{by}: {cost}{mend}"


def _list_other_answers(answers: tuple[bool, ...], taken: list[bool]) -> list[tuple[bool, ...]]:
    """Every way that leaves the one taken at a question behind the given answers."""
    return [(*taken[:place], not taken[place]) for place in range(len(answers), len(taken))]


def _draw_otherwise(run: Run) -> Iterator[Run]:
    """The same pass with other random numbers of Python and NumPy, if it asked for any."""
    if not any(name in (PYTHON_CHANCE, NUMPY_CHANCE) for name, _ in run.trace.decisions.operators):
        return
    for seed in range(1, 1 + _NUM_DRAWS):
        try:
            with drawn_outside(seed, run.contents.modules.values()):
                trace = trace_forward(run.model, run.arguments, modules=run.contents.modules)
            yield replace(run, trace=trace)
        except Exception:  # Values that the model does not take tell nothing of its cost.
            continue


def _draw_anew(subject: Subject, given: Any, *, training: bool, at_limits: bool) -> Iterator[Run]:
    """The same model with other numbers: weights, unless they are the user's own, and inputs."""
    torch.manual_seed(1)
    try:
        model = subject.build_real().train(training)
        if at_limits:
            lift_thresholds(model)
        device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
        arguments = make_arguments(given, model, device, seed=1)
        yield Run(trace_forward(model, arguments), Contents(model), arguments, device)
    except Exception:  # Values that the model does not take tell nothing of its cost.
        return
