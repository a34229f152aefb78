"""Run a model for the trace: without values if that goes, else with them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vtbench.errors import UserError
from vtbench.profiling.arguments import Arguments, count_numbers, make_arguments
from vtbench.profiling.chance import drawn_outside, seed_outside
from vtbench.profiling.errors import ProfileError, is_limit_of_meta, summarize_exception
from vtbench.profiling.subject import Subject, copy_to_meta, swapped_to_meta
from vtbench.profiling.trace import Trace, trace_forward
from vtbench.profiling.walking import Contents, list_modules, list_tensors, set_training

EMPTIED = "the model cannot be copied, so it was emptied for the time of the trace"
_META = torch.device("meta")
_SCRIPTED = "TorchScript runs its operators with values only"
_LARGEST_REAL_INPUT = 2**26
"""Numbers in an input beyond which a model that cannot be traced on the meta device is not tried on real tensors."""


@dataclass(frozen=True)
class Run:
    """A trace, the model as it was afterwards and the inputs that it was taken of, and where they live."""

    trace: Trace
    contents: Contents
    arguments: Arguments
    device: torch.device
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> nn.Module:
        """The model."""
        return self.contents.model


def execute(subject: Subject, given: Any, *, training: bool, prepare: Callable[[nn.Module], None] | None = None) -> Run:
    """Trace on the meta device, else, if that is what stands in the way, on real tensors.

    ``prepare`` may change the model before. Weights and inputs with values are drawn from seed 0.
    Raises `ProfileError` with the model's own failure if neither goes.
    """
    reason = ""
    seed_outside(0)
    torch.manual_seed(0)
    for everything in (False, True):
        try:
            return _trace_on_meta(subject, given, training, everything=everything)
        except UserError:
            raise
        except Exception as error:
            if not (is_limit_of_meta(error) or _has_scripts(subject.original)):
                raise _explain(subject, given, error) from error
            reason = _SCRIPTED if _has_scripts(subject.original) else summarize_exception(error)
    if count_numbers(given) > _LARGEST_REAL_INPUT:
        raise ProfileError(f"the model cannot be traced without real tensors ({reason}), and its input is too large.")
    try:
        torch.manual_seed(0)
        model = subject.build_real()
        if prepare is not None:
            prepare(model)
        device = next((tensor.device for tensor in list_tensors(model)), torch.device("cpu"))
        note = f"traced with real tensors, because the model needs values: {reason}"
        return _trace(model, given, device, training, (note,))
    except UserError:
        raise
    except Exception as error:
        raise _explain(subject, given, error) from error


def _explain(subject: Subject, given: Any, error: Exception) -> ProfileError:
    from vtbench.profiling.failures import explain_failure

    return explain_failure(subject.original, given, error)


def _trace_on_meta(subject: Subject, given: Any, training: bool, *, everything: bool) -> Run:
    """``everything``: also move tensors that are no parameters or buffers, and make new ones on the meta device."""
    if subject.meta is None:
        with swapped_to_meta(subject.original):
            return _trace(subject.original, given, _META, training, (EMPTIED,))
    model = copy_to_meta(subject.meta) if everything else subject.meta
    with _META if everything else nullcontext():
        return _trace(model, given, _META, training)


def _trace(model: nn.Module, given: Any, device: torch.device, training: bool, notes: tuple[str, ...] = ()) -> Run:
    arguments = make_arguments(given, model, device)
    modules = list_modules(model)
    set_training(modules, training)
    with drawn_outside(0, modules.values()):
        trace = trace_forward(model, arguments, modules=modules)
    return Run(trace, Contents(model), arguments, device, notes)


def _has_scripts(model: nn.Module) -> bool:
    """TorchScript hides why an operator failed, so that any failure there may be for want of values."""
    return any(isinstance(module, torch.jit.ScriptModule) for module in list_modules(model).values())
