"""The verb over 300 names of every source, and torchvision's own numbers at the sizes of its weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from vtbench.profiling.profile import ProfileSettings, profile_source
from vtbench.profiling.sources import resolve_source
from vtbench.profiling.wildcards import expand_patterns
from vtbench.profiling.zoo import ZooRequest, count_zoo
from vtbench.records.profile import ZooEntry
from vtbench.records.record import load_table

pytestmark = pytest.mark.slow

RECORDS = Path(__file__).parents[2] / "reports" / "profiler" / "zoo.csv"
SAMPLE = 300
DEPEND_ON_VALUES = ("fasterrcnn", "maskrcnn", "keypointrcnn")
"""Detectors in two steps: what they cost depends on what they find."""
AUXILIARY_HEADS = {
    "fcn_resnet50": 1024,
    "fcn_resnet101": 1024,
    "deeplabv3_resnet50": 1024,
    "deeplabv3_resnet101": 1024,
    "deeplabv3_mobilenet_v3_large": 40,
}
"""Weights come with a head for training that runs on: from so many channels 3x3 to a quarter, 1x1 to 21 classes."""


def test_a_sample_of_every_source_is_counted_and_checked() -> None:
    import vtbench.models  # noqa: F401  (fills the registry)

    every = expand_patterns(["timm:*", "torchvision:*", "*"])
    names = every[:: len(every) // SAMPLE]
    assert len(names) >= SAMPLE
    rows = list(count_zoo(names, ZooRequest(ProfileSettings(activations=False))))
    assert [row.model for row in rows] == names
    refused = [row for row in rows if row.refused is not None]
    assert len(refused) <= 1, refused
    total = sum(row.macs or 0 for row in rows)
    assert sum(row.covered_macs or 0 for row in rows) >= 0.999 * total
    known = {entry.model: entry for entry in load_table(RECORDS, ZooEntry)}
    for row in rows:
        if row.model in known and row.macs is not None:
            assert (row.macs, row.params) == (known[row.model].macs, known[row.model].params), row.model


def list_weights() -> list[Any]:
    from torchvision import models

    found: dict[tuple[str, Any], Any] = {}
    for name in models.list_models():
        for weights in models.get_model_weights(name):
            keywords = getattr(weights.transforms, "keywords", {})
            side = keywords.get("crop_size") or keywords.get("resize_size")
            size = None if side is None else (side, side) if isinstance(side, int) else tuple(side)
            size = size * 2 if size is not None and len(size) == 1 else size
            if not name.startswith(DEPEND_ON_VALUES):
                found[name, size] = pytest.param(name, size, weights.meta["_ops"], id=f"{name}-{weights.name}")
    return list(found.values())


@pytest.mark.parametrize(("name", "size", "stated_g"), list_weights())
def test_torchvision_states_the_same_of_its_weights(name: str, size: tuple[int, int] | None, stated_g: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Libraries announce their own deprecations.
        source = resolve_source(f"torchvision:{name}", image_size=size)
        counted = profile_source(source, ProfileSettings(activations=False)).macs
    channels = AUXILIARY_HEADS.get(name, 0)
    counted += 65 * 65 * (channels // 4) * (9 * channels + 21)
    assert counted / 1e9 == pytest.approx(stated_g, abs=0.00051)
