"""`profile`: the cost of any module, counted by two methods that must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vtbench.errors import UserError
from vtbench.profiling.activations import ActivationCount, measure_activations
from vtbench.profiling.breakdown import (
    ModuleCost,
    OperatorCost,
    Part,
    split_by_module,
    split_by_operator,
    split_by_role,
    split_by_stage,
)
from vtbench.profiling.errors import ProfileError
from vtbench.profiling.inputs import InputSize, make_inputs, resolve_input_shape
from vtbench.profiling.meta_copy import copy_to_meta, kept_randomness, swapped_to_meta, unwrap_model
from vtbench.profiling.parameters import ParameterCount, count_parameters
from vtbench.profiling.trace import Trace, trace_forward
from vtbench.profiling.verification import Verification, verify
from vtbench.records import CostRecord, NotMeasured, Record

_META = torch.device("meta")
_LARGEST_REAL_INPUT = 2**26
"""Numbers in an input beyond which a model that cannot be traced on the meta device is not tried on real tensors."""


class Unstated(Record):
    """MACs that no closed form explains, for one class of modules."""

    kind: str
    calls: int
    macs: int


class TrainingCost(Record):
    """MACs of one training step: forward in training mode, backward, and both."""

    forward_macs: int
    backward_macs: int

    @property
    def macs(self) -> int:
        """MACs of the whole step."""
        return self.forward_macs + self.backward_macs


class Profile(Record):
    """What a model costs for one input: MACs of a forward pass in evaluation, in full and in parts that sum to it.

    ``input_size`` is the shape of the input with the batch; ``macs`` are for the whole batch. ``covered_macs`` are
    explained by closed forms and ``unstated`` names the rest; ``stated_only_macs`` no operator could confirm.
    ``traced_on`` is "meta", or the device of the real tensors that had to be used; ``notes`` say why.
    """

    model: str
    input_size: tuple[int, ...]
    macs: int
    params: int
    parameters: ParameterCount
    activations: ActivationCount | NotMeasured
    training: TrainingCost | NotMeasured | None
    covered_macs: int
    stated_only_macs: int
    unstated: tuple[Unstated, ...]
    traced_on: str
    notes: tuple[str, ...]
    stages: tuple[Part, ...]
    roles: tuple[Part, ...]
    modules: tuple[ModuleCost, ...]
    operators: tuple[OperatorCost, ...]


@dataclass(frozen=True)
class ProfileSettings:
    """How to count. ``require_coverage``: every MAC must be explained by a closed form, as in registered models."""

    training: bool = False
    backward: bool = False
    activations: bool = True
    count_contractions: bool = False
    require_coverage: bool = False


@dataclass(frozen=True)
class Subject:
    """A model to be profiled. ``meta`` is free to be used up; ``build_real`` makes one with values if ever needed.

    ``original`` is the model whose parameters are counted. A ``meta`` of None means that it could not be copied.
    """

    name: str
    original: nn.Module
    meta: nn.Module | None
    build_real: Callable[[], nn.Module]


def profile(
    model: nn.Module,
    input_size: InputSize = 224,
    *,
    name: str | None = None,
    channels: int = 3,
    batch_size: int = 1,
    inputs: Sequence[Any] | None = None,
    training: bool = False,
    backward: bool = False,
    activations: bool = True,
    count_contractions: bool = False,
) -> Profile:
    """Count what ``model`` costs for images of ``input_size``: a side, (H, W), (C, H, W) or (B, C, H, W).

    ``inputs`` are arguments of ``model.forward`` instead of an image. The count is of evaluation mode unless
    ``training``; ``backward`` adds the cost of a training step. ``count_contractions`` counts multiply-and-sum patterns
    instead of refusing them. The model is left as it is: the work is done on a copy without weights.
    Raises `ProfileError` when the model fails on the input, or when its cost cannot be told with certainty.
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"There is no model to profile: got {type(model).__name__}, and a torch.nn.Module is needed.")
    if inputs is None:
        given: Any = resolve_input_shape(input_size, channels=channels, batch_size=batch_size)
    else:
        given = list(inputs)
    settings = ProfileSettings(training, backward, activations, count_contractions)
    return profile_subject(take_subject(model, name or type(model).__name__), given, settings)


def count_costs(model: nn.Module, input_shape: tuple[int, int, int], num_classes: int) -> CostRecord:
    """MACs and parameters of ``model`` for one image of ``input_shape`` (channels, height, width), verified."""
    settings = ProfileSettings(activations=False)
    counted = profile_subject(take_subject(model, type(model).__name__), (1, *input_shape), settings)
    return CostRecord(macs=counted.macs, params=counted.params, input_shape=input_shape, num_classes=num_classes)


def take_subject(model: nn.Module, name: str) -> Subject:
    """Make a user's live model a subject: copied, never touched."""
    import copy

    original = unwrap_model(model)
    try:
        meta = copy_to_meta(original)
    except Exception:  # A model may hold anything, and what cannot be copied raises anything.
        meta = None
    return Subject(name, original, meta, lambda: copy.deepcopy(original))


def profile_subject(subject: Subject, given: Any, settings: ProfileSettings) -> Profile:
    """Profile ``subject`` for ``given``: the shape (B, C, H, W) of an image, or a list of arguments."""
    with kept_randomness():
        try:
            return _profile(subject, given, settings)
        except ProfileError as error:
            raise type(error)(f"{subject.name}: {error}") from error


def _profile(subject: Subject, given: Any, settings: ProfileSettings) -> Profile:
    run = _trace(subject, given, settings)
    found = verify(
        run.trace, refuse_contractions=not settings.count_contractions, require_coverage=settings.require_coverage
    )
    lazily_made = _is_lazy(subject.original)
    parameters = count_parameters(run.model if lazily_made else subject.original)
    notes = (*run.notes, *_describe_coverage(found, run.trace.total_macs))
    return Profile(
        model=subject.name,
        input_size=run.trace.calls[0].input_shapes[0] if run.trace.calls[0].input_shapes else (),
        macs=run.trace.total_macs,
        params=parameters.total,
        parameters=parameters,
        activations=_measure_activations(run, given) if settings.activations else NotMeasured(reason="not asked for"),
        training=_count_training(run, given, settings) if settings.backward else None,
        covered_macs=found.covered_macs,
        stated_only_macs=found.stated_only_macs,
        unstated=tuple(Unstated(kind=kind, calls=calls, macs=macs) for kind, calls, macs in found.unstated),
        traced_on=run.device.type,
        notes=notes,
        stages=split_by_stage(run.model, run.trace),
        roles=split_by_role(run.model, run.trace),
        modules=split_by_module(run.model, run.trace),
        operators=split_by_operator(run.trace),
    )


@dataclass(frozen=True)
class _Run:
    """A trace, the model that it was taken of, and where that lives."""

    trace: Trace
    model: nn.Module
    device: torch.device
    notes: tuple[str, ...] = ()


def _trace(subject: Subject, given: Any, settings: ProfileSettings) -> _Run:
    """Trace on the meta device, else, if that is what stands in the way, on real tensors."""
    try:
        return _trace_on_meta(subject, given, settings)
    except ProfileError:
        raise
    except Exception as error:
        if not _is_limit_of_meta(error):
            raise _model_failed(subject, given, error) from error
        reason = _first_sentence(error)
    if isinstance(given, tuple) and _numel(given) > _LARGEST_REAL_INPUT:
        raise ProfileError(f"the model cannot be traced without real tensors ({reason}), and its input is too large.")
    try:
        model = subject.build_real()
        device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
        model.train(settings.training)
        trace = trace_forward(model, make_inputs(given, model, device))
    except ProfileError:
        raise
    except Exception as error:
        raise _model_failed(subject, given, error) from error
    note = f"traced with real tensors, because the model needs values: {reason}"
    return _Run(trace, model, device, (note,))


def _trace_on_meta(subject: Subject, given: Any, settings: ProfileSettings) -> _Run:
    if subject.meta is not None:
        subject.meta.train(settings.training)
        trace = trace_forward(subject.meta, make_inputs(given, subject.meta, _META))
        return _Run(trace, subject.meta, _META)
    with swapped_to_meta(subject.original):
        subject.original.train(settings.training)
        trace = trace_forward(subject.original, make_inputs(given, subject.original, _META))
    return _Run(
        trace, subject.original, _META, ("the model cannot be copied, so it was emptied for the time of the trace",)
    )


def _measure_activations(run: _Run, given: Any) -> ActivationCount | NotMeasured:
    if any("cannot be copied" in note for note in run.notes):
        return NotMeasured(reason="the model cannot be copied")
    try:
        run.model.train()
        return measure_activations(run.model, make_inputs(given, run.model, run.device))
    except Exception as error:  # The model's own failure in training mode, such as batch norm of a single value.
        return NotMeasured(reason=_first_sentence(error))


def _count_training(run: _Run, given: Any, settings: ProfileSettings) -> TrainingCost | NotMeasured:
    try:
        run.model.train()
        trace = trace_forward(run.model, make_inputs(given, run.model, run.device), backward=True)
        verify(trace, refuse_contractions=not settings.count_contractions, require_coverage=False)
    except ProfileError:
        raise
    except Exception as error:
        return NotMeasured(reason=_first_sentence(error))
    return TrainingCost(forward_macs=trace.total_macs, backward_macs=trace.backward_macs)


def _describe_coverage(found: Verification, total: int) -> tuple[str, ...]:
    notes = []
    if found.unstated:
        listing = ", ".join(f"{kind} x{calls} {macs / 1e6:,.2f} M" for kind, calls, macs in found.unstated[:5])
        more = f" and {len(found.unstated) - 5} more" if len(found.unstated) > 5 else ""
        notes.append(f"closed forms cover {100 * found.covered_macs / total:.1f} %; unstated: {listing}{more}")
    if found.stated_only_macs:
        notes.append(f"{found.stated_only_macs / 1e6:,.2f} M are stated by modules and seen by no operator")
    return tuple(notes)


def _is_lazy(model: nn.Module) -> bool:
    return any(nn.parameter.is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers()))


def _is_limit_of_meta(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()


def _model_failed(subject: Subject, given: Any, error: Exception) -> ProfileError:
    wanted = "x".join(map(str, given)) if isinstance(given, tuple) else "the given arguments"
    return ProfileError(
        f"the model fails on an input of {wanted}: {_first_sentence(error)}. Check the input size and the channels."
    )


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".") or "no message"
    return f"{type(error).__name__}: {text[:300]}{'...' if len(text) > 300 else ''}"


def _numel(shape: Sequence[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product
