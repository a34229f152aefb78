"""What a claim about cost needs to know of a model, counted live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from vtbench.errors import UserError
from vtbench.records import NotMeasured


@dataclass(frozen=True)
class Counts:
    """Cost of one variant per image, in full and by stage. ``norm_params`` are those of normalisation layers.

    The paper's parameters of the VTs are without them. MACs of normalisation are not counted anywhere here.
    """

    macs: int
    params: int
    norm_params: int
    stage_macs: Mapping[str, int]
    stage_params: Mapping[str, int]


CountFunction = Callable[[str, tuple[int, int]], Counts | NotMeasured]
"""From a variant's spelling and an image size to its counts, or the reason why there are none."""


def make_counter() -> CountFunction:
    """Count through ``vtbench.models`` and ``vtbench.profiling``, each variant once."""
    return cache(_count_variant)


def _count_variant(variant: str, image_size: tuple[int, int]) -> Counts | NotMeasured:
    import torch

    from vtbench.models import create_model
    from vtbench.profiling.profile import ProfileSettings, profile_source
    from vtbench.profiling.sources import resolve_source

    try:
        with torch.device("meta"):
            model = create_model(variant, image_size=image_size)
        source = resolve_source(variant, image_size=image_size)
        counted = profile_source(source, ProfileSettings(activations=False))
    except UserError as error:
        return NotMeasured(reason=str(error))
    norms = (torch.nn.modules.batchnorm._NormBase, torch.nn.LayerNorm, torch.nn.GroupNorm)
    stages: dict[str, str] = dict(model.stage_names)  # type: ignore[arg-type]
    stage_params: dict[str, int] = {}
    for child, module in model.named_children():
        own = sum(parameter.numel() for parameter in module.parameters())
        stage_params[stages.get(child, child)] = stage_params.get(stages.get(child, child), 0) + own
    return Counts(
        macs=counted.macs,
        params=counted.params,
        norm_params=sum(
            parameter.numel()
            for module in model.modules()
            if isinstance(module, norms)
            for parameter in module.parameters(recurse=False)
        ),
        stage_macs={part.name: part.macs for part in counted.stages},
        stage_params=stage_params,
    )
