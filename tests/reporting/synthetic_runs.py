"""Run records for tests, made up but of the real type, and study folders that hold them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

from vtbench.configuration import DataConfig, Recipe, RunConfig
from vtbench.metrics import score_segmentation
from vtbench.records import (
    Certificate,
    CostRecord,
    EnvironmentRecord,
    NotMeasured,
    RunRecord,
    save_record,
)

ENVIRONMENT = EnvironmentRecord(
    vtbench="0.1.0",
    commit="0123456789abcdef0123456789abcdef01234567",
    dirty=False,
    python="3.11.7",
    platform="Linux-6.1-x86_64",
    cpu="Example CPU",
    num_cores=2,
    threads=1,
    device="cpu",
    device_name="Example CPU",
    packages={"numpy": "2.0.0", "torch": "2.9.0", "timm": "1.0.15"},
)

COMPONENTS = {
    "convolution": ("resnet20", 40_550_000, 269_722),
    "static": ("vt_resnet20:tokenizer=static", 33_120_000, 301_450),
    "static-position": ("vt_resnet20:tokenizer=static,position=on", 33_480_000, 322_218),
    "dynamic": ("vt_resnet20", 33_910_000, 331_530),
    "dynamic-position": ("vt_resnet20:position=on", 34_270_000, 352_298),
}
ACCURACY = {
    "convolution": (71.25, 70.8, 71.9),
    "static": (69.9, 69.4, 70.3),
    "static-position": (70.1, 69.5, 70.8),
    "dynamic": (71.9, 71.2, 72.3),
    "dynamic-position": (72.05, 71.4, 72.6),
}


def make_run(
    arm: str | None = "convolution",
    seed: int = 0,
    top1_percent: float = 70.0,
    *,
    variant: str | None = None,
    macs: int | None = None,
    study: str | None = "components",
    error: str | None = None,
    epochs: int = 10,
    spec: str = "scenes",
    **certificate: str | None,
) -> RunRecord:
    """One finished run, or a failed one if there is an ``error``; fields of the certificate can be overridden."""
    known = COMPONENTS.get(arm or "", (variant or "resnet20", 40_550_000, 269_722))
    hashes = {field: _hash(field) for field in Certificate.model_fields if field != "untreated"}
    hashes |= {"recipe": _hash("recipe", epochs), "train_data": _hash(spec), "val_data": _hash("val", spec)}
    hashes |= {field: _hash(field, seed) for field in ("sample_order", "augmentation")}
    hashes |= {field: _hash(field, value) for field, value in certificate.items()}
    return RunRecord(
        task="classification",
        variant=variant or known[0],
        seed=seed,
        status="failed" if error else "finished",
        config=RunConfig(
            variant=variant or known[0],
            data=DataConfig(spec=spec),
            recipe=Recipe(name="small", epochs=epochs, batch_size=128),
            seed=seed,
        ),
        environment=ENVIRONMENT,
        costs=CostRecord(macs=macs or known[1], params=known[2], input_shape=(3, 32, 32), num_classes=10),
        certificate=None if error else Certificate(**hashes),
        num_train=5000,
        num_val=2000,
        num_classes=10,
        epochs=(),
        outcome=NotMeasured(reason=error) if error else {"top1_percent": top1_percent},
        weights_sha256=None if error else _hash(arm, seed),
        error=error,
        arm=arm,
        study=study,
    )


def list_runs(accuracy: Mapping[str, Sequence[float]] = ACCURACY) -> list[RunRecord]:
    """A whole study: every arm with as many seeds as it has accuracies."""
    return [make_run(arm, seed, value) for arm, values in accuracy.items() for seed, value in enumerate(values)]


def make_segmentation_run(
    arm: str, seed: int, confusion: Sequence[Sequence[int]], *, void_percent: float = 0.0, names: Sequence[str] = ()
) -> RunRecord:
    """One finished run of segmentation, scored from the confusion matrix of its validation images."""
    outcome = {"loss": 1.0, **score_segmentation(confusion), "void_percent": void_percent}
    known = {"task": "segmentation", "outcome": outcome, "class_names": tuple(names), "num_classes": len(confusion)}
    return make_run(arm, seed, variant="fpn_resnet18:width=8").model_copy(update=known)


def write_study(folder: Path, records: Sequence[RunRecord], *, seeds: int | None = 3) -> Path:
    """Lay ``records`` out as ``vtbench ablate`` does; without ``seeds`` there is no study file."""
    for record in records:
        save_record(folder / "cells" / (record.arm or "run") / f"seed-{record.seed}" / "record.json", record)
    if seeds is not None:
        study = {
            "format": 1,
            "name": "components",
            "question": "Do tokens beat convolution, and does it matter whether they are dynamic?",
            "base": "vt_resnet20",
            "reference": "convolution",
            "arms": {arm: variant for arm, (variant, _, _) in COMPONENTS.items()},
            "seeds": seeds,
        }
        (folder / "study.json").write_text(json.dumps(study), "utf-8")
    return folder


def write_crossed(
    folder: Path,
    factors: Mapping[str, Sequence[str]],
    score: Callable[[Mapping[str, str], int], float | None],
    *,
    seeds: int = 4,
    **more: object,
) -> Path:
    """A study of crossed ``factors``: ``score`` says what a cell came to by its levels and its seed, None if it failed.

    ``more`` are further entries of the study's file.
    """
    levels = {
        ",".join(f"{factor}={level}" for factor, level in zip(factors, chosen, strict=True)): dict(
            zip(factors, chosen, strict=True)
        )
        for chosen in product(*factors.values())
    }
    arms = {arm: f"resnet20:width={number + 1}" for number, arm in enumerate(levels)}
    runs = [
        make_run(arm, seed, value or 0.0, variant=arms[arm], study=folder.name, error="boom" if value is None else None)
        for arm in arms
        for seed in range(seeds)
        for value in [score(levels[arm], seed)]
    ]
    write_study(folder, runs, seeds=None)
    study = {"format": 1, "name": folder.name, "question": "What do the factors do?", "base": "resnet20"}
    study |= {"reference": next(iter(arms)), "arms": arms, "levels": levels, "seeds": seeds, **more}
    (folder / "study.json").write_text(json.dumps(study), "utf-8")
    return folder


def assert_same_files(folder: Path, other: Path) -> None:
    """Every file in and beneath ``folder`` has the same bytes in ``other``, which may hold more."""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        assert path.read_bytes() == (other / path.relative_to(folder)).read_bytes(), path.relative_to(folder)


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
