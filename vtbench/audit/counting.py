"""What a claim about cost needs to know of a model, counted live.

``python -m vtbench.audit.counting`` counts the variants with options that the literature reports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from vtbench.errors import UserError
from vtbench.files import publish_text
from vtbench.published.results import VARIANT_COSTS, load_results
from vtbench.records import NotMeasured
from vtbench.variants import MODELS, split_variant


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


CountFunction = Callable[[str, tuple[int, int], int | None], Counts | NotMeasured]
"""From a variant's spelling, an image size and a number of classes (None: those that the model is quoted with) to its
counts, or the reason why there are none."""


def make_counter() -> CountFunction:
    """Count through ``vtbench.models`` and ``vtbench.profiling``, each variant once."""
    return cache(_count_variant)


def _count_variant(variant: str, image_size: tuple[int, int], num_classes: int | None) -> Counts | NotMeasured:
    import torch

    from vtbench.models import create_model
    from vtbench.profiling.profile import ProfileSettings, profile_source
    from vtbench.profiling.sources import resolve_source

    try:
        with torch.device("meta"):
            model = create_model(variant, image_size=image_size, num_classes=num_classes)
        source = resolve_source(variant, image_size=image_size, num_classes=num_classes)
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


def count_published_variants() -> list[dict[str, Any]]:
    """One entry for each published variant that is not a preset; variants that are not registered are left out."""
    count = make_counter()
    entries = []
    for variant in sorted({result.variant for result in load_results() if ":" in result.variant}):
        counted = count(variant, (224, 224), None)
        if isinstance(counted, Counts):
            spec = MODELS[split_variant(variant)[0]]
            size, classes = list(spec.image_size), spec.num_classes
            entry = {"name": variant, "image_size": size, "num_classes": classes}
            entries.append({**entry, "params": counted.params, "macs": counted.macs})
    return entries


def main() -> None:
    """Count them and write the file."""
    entries = count_published_variants()
    publish_text(VARIANT_COSTS, json.dumps(entries, indent=1) + "\n")
    sys.stdout.write(f"{len(entries)} variants written to {VARIANT_COSTS}\n")


if __name__ == "__main__":
    main()
