"""`profile`: the cost of any module, counted by two methods that must agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from vtbench.errors import UserError
from vtbench.profiling.breakdown import split_by_module, split_by_operator, split_by_role, split_by_stage
from vtbench.profiling.deployment import describe_form, fuse_subject
from vtbench.profiling.errors import ProfileError
from vtbench.profiling.execution import EMPTIED, Run, execute
from vtbench.profiling.inputs import InputSize, resolve_input_shape
from vtbench.profiling.sources import Source, make_subject, resolve_source
from vtbench.profiling.storage import count_parameters, find_idle_parameters, measure_activations
from vtbench.profiling.subject import Subject, kept_randomness, take_subject
from vtbench.profiling.trace import Trace, trace_forward
from vtbench.profiling.verification import Verification, verify
from vtbench.profiling.walking import Contents, set_training
from vtbench.records import CostRecord, NotMeasured
from vtbench.records.profile import ActivationCount, InputShape, Profile, TrainingCost, ValueDependence
from vtbench.units import format_share

_CANNOT_BE_COPIED = NotMeasured(reason="the model cannot be copied")


@dataclass(frozen=True)
class ProfileSettings:
    """How to count. ``at_limits``: as much as a model allows itself where values decide. ``fuse``: deployed form.

    ``require_coverage``: every MAC must have a closed form. It is always on for registered models. ``parts``: also
    tell the MACs of stages, roles, modules and operators.
    """

    training: bool = False
    backward: bool = False
    activations: bool = True
    count_contractions: bool = False
    at_limits: bool = False
    require_coverage: bool = False
    fuse: bool = False
    parts: bool = True


def profile(
    model: nn.Module,
    input_size: InputSize = 224,
    *,
    name: str | None = None,
    channels: int = 3,
    batch_size: int = 1,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    training: bool = False,
    backward: bool = False,
    activations: bool = True,
    count_contractions: bool = False,
    at_limits: bool = False,
    fuse: bool = False,
) -> Profile:
    """Count what ``model`` costs for images of ``input_size``: a side, (H, W), (C, H, W) or (B, C, H, W).

    ``inputs`` are arguments of ``model.forward`` instead of an image, in order or by name: tensors, and lists and
    dictionaries of such. The count is of evaluation mode unless ``training``; ``backward`` adds the cost of a training
    step. ``count_contractions`` counts multiply-and-sum patterns instead of refusing them; ``at_limits`` lets a
    detector's selections pass up to its limits, and takes the dearest way where values decide; ``fuse`` merges branches
    and norms as for deployment, where modules say how (``fuse()``, ``reparameterize()``, ``switch_to_deploy()``). The
    model is left as it is: the work is done on a copy without weights.
    Raises `ProfileError` when the model fails on the input, or when its cost cannot be told with certainty.

    A 3x3 convolution of 4 filters costs 8 x 8 x 4 x 27 multiply-accumulates on an RGB image of 8x8:

    >>> from torch import nn
    >>> counted = profile(nn.Conv2d(3, 4, 3, padding=1), 8)
    >>> counted.macs, counted.params
    (6912, 112)
    >>> [(part.name, part.macs) for part in counted.roles]
    [('convolution', 6912)]
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"There is no model to profile: got {type(model).__name__}, and a torch.nn.Module is needed.")
    if inputs is None:
        given: Any = resolve_input_shape(input_size, channels=channels, batch_size=batch_size)
    else:
        given = dict(inputs) if isinstance(inputs, Mapping) else list(inputs)
    settings = ProfileSettings(training, backward, activations, count_contractions, at_limits, fuse=fuse)
    return profile_subject(take_subject(model, name or type(model).__name__), given, settings)


def count_costs(variant: str, image_size: tuple[int, int], num_classes: int) -> CostRecord:
    """MACs and parameters of a registered ``variant`` for one image of (height, width), confirmed to the last MAC."""
    source = resolve_source(variant, image_size=image_size, num_classes=num_classes)
    counted = profile_source(source, ProfileSettings(activations=False))
    input_shape = (source.channels, *source.image_size)
    return CostRecord(macs=counted.macs, params=counted.params, input_shape=input_shape, num_classes=num_classes)


def profile_source(source: Source, settings: ProfileSettings = ProfileSettings(), *, batch_size: int = 1) -> Profile:
    """Profile the model of ``source`` at its image size, without allocating its weights.

    The one door for registered models: raises `ProfileError` if a MAC of theirs has no closed form.
    """
    settings = replace(settings, require_coverage=settings.require_coverage or source.registered)
    return profile_subject(make_subject(source), source.plan_inputs(batch_size), settings)


def profile_subject(subject: Subject, given: Any, settings: ProfileSettings) -> Profile:
    """Profile ``subject`` for ``given``: the shape (B, C, H, W) of an image, `InputSpec`s, or arguments of forward."""
    with kept_randomness():
        try:
            return _profile(subject, given, settings)
        except ProfileError as error:
            raise type(error)(f"{subject.name}: {error}") from error


def _profile(subject: Subject, given: Any, settings: ProfileSettings) -> Profile:
    form = describe_form(subject) if not settings.fuse else None
    if settings.fuse:
        fused = fuse_subject(subject)
        form = "nothing of it can be fused" if fused is subject else None
        subject = fused
    run = execute(subject, given, training=settings.training, prepare=_lift_thresholds if settings.at_limits else None)
    found = verify(
        run.trace, refuse_contractions=not settings.count_contractions, require_coverage=settings.require_coverage
    )
    dependence, depends, run = _examine_dependence(subject, given, run, settings)
    parameters = count_parameters(_list_counted(subject, run))
    idle, idle_parts = find_idle_parameters(run.contents, run.trace.used)
    parameters = parameters.model_copy(update={"idle": idle, "idle_parts": idle_parts})
    traced = (note.partition(": ")[0] if dependence and note.startswith("traced") else note for note in run.notes)
    coverage = _describe_coverage(found, run.trace.total_macs)
    notes = (*depends, *traced, *((form,) if form else ()), *_describe_first_layer(run), *coverage)
    return Profile(
        model=subject.name,
        input_size=run.trace.calls[0].input_shapes[0] if run.trace.calls[0].input_shapes else (),
        inputs=tuple(
            InputShape(name=name, shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))
            for name, tensor in run.arguments.list_tensors()
        ),
        macs=run.trace.total_macs,
        params=parameters.total,
        parameters=parameters,
        activations=_measure_activations(run) if settings.activations else NotMeasured(reason="not asked for"),
        training=_count_training(run, settings) if settings.backward else None,
        covered_macs=found.covered_macs,
        stated_only_macs=found.stated_only_macs,
        unstated=found.unstated,
        traced_on=run.device.type,
        notes=notes,
        stages=split_by_stage(run.model, run.trace) if settings.parts else (),
        roles=split_by_role(run.contents, run.trace) if settings.parts else (),
        modules=split_by_module(run.contents, run.trace) if settings.parts else (),
        operators=split_by_operator(run.trace) if settings.parts else (),
        value_dependence=dependence,
    )


def _lift_thresholds(model: nn.Module) -> None:
    from vtbench.profiling.dependence import lift_thresholds

    lift_thresholds(model)


def _examine_dependence(
    subject: Subject, given: Any, run: Run, settings: ProfileSettings
) -> tuple[ValueDependence | None, tuple[str, ...], Run]:
    """What values decide, the sentence on it, and the run that is to be shown."""
    if not run.trace.decisions.operators and run.device.type == "meta":
        return None, (), run
    from vtbench.profiling.dependence import describe_dependence, examine_dependence

    dependence, run = examine_dependence(
        subject,
        given,
        run,
        training=settings.training,
        count_contractions=settings.count_contractions,
        at_limits=settings.at_limits,
    )
    return dependence, (describe_dependence(dependence),) if dependence is not None else (), run


def _describe_first_layer(run: Run) -> Iterator[str]:
    """A model that resizes or pads its images works at another size than it was given."""
    given = [tuple(tensor.shape) for _, tensor in run.arguments.list_tensors()]
    first = next((call for call in run.trace.calls if call.own_macs and call.input_shapes), None)
    if first is None or not given or len(given[0]) < 4:
        return
    seen = first.input_shapes[0]
    if seen[:2] == given[0][:2] and len(seen) == len(given[0]) and seen != given[0]:
        yield f"the model resizes or pads its input: its first layer ran on {'x'.join(map(str, seen))}"


def _measure_activations(run: Run) -> ActivationCount | NotMeasured:
    if EMPTIED in run.notes:
        return _CANNOT_BE_COPIED
    try:
        set_training(run.contents.modules, True)
        with _ready_for(run.trace):
            return measure_activations(run.contents, run.arguments)
    except Exception as error:  # The model's own failure in training mode, such as batch norm of a single value.
        return _say_why_not(error)


def _say_why_not(error: Exception) -> NotMeasured:
    from vtbench.profiling.failures import explain_training_failure

    return NotMeasured(reason=explain_training_failure(error))


def _ready_for(trace: Trace) -> AbstractContextManager[None]:
    if not trace.higher_order:
        return nullcontext()
    from vtbench.profiling.higher_order import eager_higher_order

    return eager_higher_order(lambda question: True)


def _count_training(run: Run, settings: ProfileSettings) -> TrainingCost | NotMeasured:
    if EMPTIED in run.notes:
        return _CANNOT_BE_COPIED
    try:
        run.model.train()
        trace = trace_forward(run.model, run.arguments, backward=True)
        verify(trace, refuse_contractions=not settings.count_contractions, require_coverage=False)
    except ProfileError:
        raise
    except Exception as error:
        return _say_why_not(error)
    if all(parameter.grad is None for parameter in run.model.parameters()):
        return NotMeasured(reason="no gradient reaches a parameter, because an operator in between has none")
    for missing in trace.backward_uncounted:
        why = missing.reason or (
            "its cost is not known. Register a formula for it with torch.utils.flop_counter.register_flop_formula"
        )
        return NotMeasured(reason=f"the backward pass runs the operator {missing.name} on {missing.shapes}: {why}")
    return TrainingCost(forward_macs=trace.total_macs, backward_macs=trace.backward_macs)


def _describe_coverage(found: Verification, total: int) -> tuple[str, ...]:
    notes = []
    if found.unstated:
        listing = ", ".join(f"{one.kind} x{one.calls} {one.macs / 1e6:,.2f} M" for one in found.unstated[:5])
        more = f" and {len(found.unstated) - 5} more" if len(found.unstated) > 5 else ""
        notes.append(f"closed forms cover {format_share(found.covered_macs, total)} %; unstated: {listing}{more}")
    if found.left_out_macs:
        share = 100 * found.left_out_macs / total
        notes.append(
            f"{found.left_out_macs:,} MACs of products that are summed without a matrix product are not counted "
            f"({share:.2g} % of the count; --count-contractions counts them)"
        )
    if found.stated_only_macs:
        notes.append(f"{found.stated_only_macs / 1e6:,.2f} M are stated by modules and seen by no operator")
    return tuple(notes)


def _list_counted(subject: Subject, run: Run) -> Contents:
    """What the subject's own model holds, unless only a run gives it shapes."""
    if subject.original is run.model:
        return run.contents
    own = Contents(subject.original)
    return run.contents if any(map(nn.parameter.is_lazy, own.list_tensors())) else own
