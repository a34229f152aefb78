"""Weights that a network starts from instead of those that the seed draws, taken whole or not at all.

A source is the folder of a finished run, a safetensors file, a ``.pt`` or ``.pth`` file with a state dict, which is
read without running code from it, or the name of trained weights of timm or torchvision (see `library_weights`). What
identifies it is its content, not its place. Names are those of the networks here, which for ResNets are torchvision's
and timm's. Two things may differ, and nothing else:

- the head: parameters whose shape follows from the number of classes start from the seed where the classes differ;
- a segmentation network takes its trunk from a classification network. The map is the identity: ``conv1``, ``bn1``,
  ``layer1`` to ``layer4`` have the same names in both. The classifier ``fc`` is left out, and neck and head start from
  the seed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vtbench.configuration import InitConfig, RunConfig
from vtbench.errors import UserError
from vtbench.files import expand_home
from vtbench.profiling.subject import kept_randomness
from vtbench.records import RunRecord, StartRecord, load_record
from vtbench.run_folder import RECORD, WEIGHTS
from vtbench.training.checkpoint import pack_tensors
from vtbench.training.folder import find_finished
from vtbench.training.foreign_network import settle_shapes
from vtbench.training.library_weights import load_library_weights, names_library
from vtbench.training.trained import read_weights
from vtbench.units import format_items
from vtbench.variants import create_model, find_kind, find_model, split_variant

CLASSIFIER = "fc"
"""The head of a classification network, which a segmentation network has no use for."""

_OWNER = "the starting"
_FORMS = (
    "the folder of a finished run, a .safetensors, .pt or .pth file with a state dict, timm:NAME or torchvision:NAME"
)
_SUFFIXES = (".safetensors", ".pt", ".pth")
_COUNTER = ".num_batches_tracked"
_NUM_NAMED = 3


@dataclass(frozen=True)
class Source:
    """Named tensors and their hash; of a run of this house also its variant and the names of its classes."""

    place: str
    tensors: Mapping[str, Tensor]
    sha256: str
    variant: str | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fit:
    """Names of what a network takes from a source, of what the network draws from the seed, of what is left out."""

    taken: tuple[str, ...]
    from_seed: tuple[str, ...]
    left_out: tuple[str, ...]


def open_source(place: str) -> Source:
    """Read the weights at ``place``. Raises ``UserError`` for what cannot be read, is damaged, or is no number."""
    if names_library(place):
        return _check(place, load_library_weights(place), None)
    path = expand_home(place)
    folder = path if path.is_dir() else path.parent
    is_run = path.is_dir() or (path.name == WEIGHTS and (folder / RECORD).exists())
    if not is_run and not (path.is_file() and path.suffix in _SUFFIXES):
        what = "can be taken from" if path.exists() else "lie at"
        raise UserError(f"No weights to start from {what} {place}. Give {_FORMS}.")
    record = find_finished(folder) if is_run else None
    return _check(place, read_weights(folder / WEIGHTS if is_run else path, _OWNER), record)


def _check(place: str, tensors: dict[str, Tensor], record: RunRecord | None) -> Source:
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise UserError(f"The weights {place} are not all finite numbers: {_name_some(broken)}. Give others.")
    sha256 = hashlib.sha256(pack_tensors(dict(sorted(tensors.items())), {})).hexdigest()
    if record is None:
        return Source(place, tensors, sha256)
    return Source(place, tensors, sha256, record.variant, record.class_names)


def identify_start(config: RunConfig, folder: Path) -> RunConfig:
    """The configuration with the hash of the weights that it starts from.

    Those of a finished run in ``folder`` need not be there any more.
    """
    init = config.init
    if init is None or init.sha256 is not None:
        return config
    try:
        sha256 = open_source(init.source).sha256
    except UserError:
        before = load_record(folder / RECORD, RunRecord) if (folder / RECORD).exists() else None
        if before is None or before.status != "finished" or before.config.init is None:
            raise
        if before.config.init.source != init.source:
            raise
        sha256 = str(before.config.init.sha256)
    return config.model_copy(update={"init": init.model_copy(update={"sha256": sha256})})


def open_identified(init: InitConfig) -> Source:
    """Read the weights of ``init``. Raises ``UserError`` where they are others than it says."""
    source = open_source(init.source)
    if init.sha256 not in (None, source.sha256):
        raise UserError(
            f"The weights {init.source} are others than those that this was begun with: their content has the SHA-256 "
            f"{source.sha256[:12]}.., and it was {str(init.sha256)[:12]}... Bring those back, or begin anew with --out."
        )
    return source


def fit_weights(
    model: nn.Module, source: Source, variant: str, *, class_names: tuple[str, ...], image_size: tuple[int, int]
) -> Fit:
    """What ``model``, which is ``variant`` for these classes, takes from ``source``; reads shapes only.

    Raises ``UserError`` naming the first tensors that one has and the other lacks or has in another shape.
    """
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    theirs = {name: value.shape for name, value in source.tensors.items()}
    if takes_trunk(model, theirs):
        above = _list_above_trunk(model)
        skipped = {name for name in shapes if _top(name) in above}
        left_out = {name for name in theirs if _top(name) == CLASSIFIER}
    else:
        head = _find_head(shapes, variant, len(class_names), image_size)
        others = bool(source.class_names) and source.class_names != class_names
        skipped = {name for name in head if others or theirs.get(name) != shapes[name]}
        left_out = skipped & theirs.keys()
    wanted = [name for name in shapes if name not in skipped]
    lacking = [name for name in wanted if name not in theirs and not name.endswith(_COUNTER)]
    unknown = [name for name in theirs if name not in left_out and name not in wanted]
    misshapen = [name for name in wanted if name in theirs and theirs[name] != shapes[name]]
    if lacking or unknown or misshapen:
        raise UserError(_describe_misfit(source, variant, shapes, theirs, (lacking, unknown, misshapen)))
    taken = tuple(name for name in wanted if name in theirs)
    return Fit(
        taken, tuple(name for name in shapes if name in skipped), tuple(name for name in theirs if name in left_out)
    )


def put_weights(model: nn.Module, source: Source, fit: Fit) -> None:
    """Copy into ``model`` what it takes; the rest stays as it was drawn."""
    model.load_state_dict({**model.state_dict(), **{name: source.tensors[name] for name in fit.taken}})


def record_start(model: nn.Module, source: Source | None, fit: Fit | None) -> StartRecord | None:
    """What goes into the record of a run that starts from ``source``, or that trains a part of ``model`` only."""
    frozen = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    if source is None or fit is None:
        return StartRecord(frozen_params=frozen) if frozen else None
    parameters = dict(model.named_parameters())
    return StartRecord(
        weights_sha256=source.sha256,
        taken=len(fit.taken),
        taken_params=sum(parameters[name].numel() for name in fit.taken if name in parameters),
        from_seed=dict(Counter(map(_top, fit.from_seed))),
        left_out=dict(Counter(map(_top, fit.left_out))),
        frozen_params=frozen,
    )


def describe_start(init: InitConfig, start: StartRecord, variant: str, source: Source) -> str:
    """One line for the user, with a warning where equal shapes hide another function."""
    whole = len(source.tensors)
    parts = [f"Starts from {init.source}: {start.taken} of {whole} tensors taken, {start.taken_params:,} parameters"]
    parts += [f"left out {_count(start.left_out)}"] if start.left_out else []
    parts += [f"from the seed {_count(start.from_seed)}"] if start.from_seed else []
    return f"{'; '.join(parts)}.{_warn_of_stride(variant, source)}"


def takes_trunk(model: nn.Module, names: Iterable[str]) -> bool:
    """Whether ``model`` has a neck, and the network with these names has neither that nor its head."""
    above = _list_above_trunk(model)
    return "neck" in _stages(model).values() and not any(_top(name) in above for name in names)


def _stages(model: nn.Module) -> Mapping[str, str]:
    stages: Mapping[str, str] = getattr(model, "stage_names", {})
    return stages


def _list_above_trunk(model: nn.Module) -> set[str]:
    return {child for child, stage in _stages(model).items() if stage in ("neck", "head")}


def _find_head(
    shapes: Mapping[str, torch.Size], variant: str, num_classes: int, image_size: tuple[int, int]
) -> set[str]:
    """The tensors whose shape follows from the number of classes."""
    is_ours = find_model(split_variant(variant)[0]).is_ours  # Others' code may need values while it builds.
    with torch.device("meta") if is_ours else nullcontext(), kept_randomness():
        other = settle_shapes(create_model(variant, num_classes=num_classes + 1, image_size=image_size), image_size)
    others = other.state_dict()
    return {name for name, shape in shapes.items() if others[name].shape != shape}


def _describe_misfit(
    source: Source,
    variant: str,
    shapes: Mapping[str, torch.Size],
    theirs: Mapping[str, torch.Size],
    problems: tuple[list[str], list[str], list[str]],
) -> str:
    lacking, unknown, misshapen = problems
    parts = []
    if misshapen:
        first = misshapen[0]
        there, here = ("x".join(map(str, sizes[first])) for sizes in (theirs, shapes))
        many = format_items(len(misshapen), "tensor")
        parts.append(f"{many} of another shape ({_name_some(misshapen)}: {first} is {there}, not {here})")
    if lacking:
        parts.append(f"{format_items(len(lacking), 'tensor')} missing ({_name_some(lacking)})")
    if unknown:
        parts.append(f"{format_items(len(unknown), 'tensor')} unknown to the network ({_name_some(unknown)})")
    whose = f", which are of {source.variant}," if source.variant else ""
    return (
        f"The weights {source.place}{whose} do not fit {variant}, and nothing of them was taken: "
        f"{'; '.join(parts)}. Give weights of the same network, with the same width, stem and other options (the head "
        "may differ); a network for segmentation also takes those of a classification network on the same ResNet."
    )


def _warn_of_stride(variant: str, source: Source) -> str:
    """Where a bottleneck has its stride does not show in shapes."""
    ours, theirs = _find_stride(variant), _find_stride(source.variant) if source.variant else "3x3"
    if ours is None or theirs in (None, ours):
        return ""
    presumed = "were trained" if source.variant else "as those of torchvision and timm, were probably trained"
    return (
        f" Note: this network has the stride of its bottlenecks in the {ours} convolution, and the weights, {presumed} "
        f"with it in the {theirs}: another function of equal shapes. The option stride_in={theirs} makes them the same."
    )


def _find_stride(variant: str) -> str | None:
    name, given = split_variant(variant)
    if find_kind(name) is not None:
        return None
    options: Any = find_model(name).resolve_options(given)
    stride: str | None = getattr(options, "stride_in", None)
    return stride


def _top(name: str) -> str:
    return name.partition(".")[0]


def _count(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{part} ({count})" for part, count in parts.items())


def _name_some(names: list[str]) -> str:
    return ", ".join(names[:_NUM_NAMED]) + (", .." if len(names) > _NUM_NAMED else "")
