"""A small run for every feature of recipes and executions, and for the ways in which data come."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vtbench.configuration import DataConfig, ExecutionConfig, InitConfig, Recipe, RunConfig

SCENES = "scenes:num_train=48,num_val=20"
PARQUET = "parquet:{work}/parquet"
CLASSIFIER = "vt_resnet20:width=4,num_tokens=4"
SEGMENTER = "vt_fpn_resnet18:width=4,num_tokens=4,stem=small"
TEACHER = {"teacher": "{work}/teacher", "weight": 0.5, "temperature": 2.0}
WINDOWS = {
    "augmentation": {"crop_padding": 0, "scale": [0.75, 1.5], "crop": [24, 32], "swap_on_flip": [[1, 2]]},
    "class_weights": "inverse_frequency",
    "window": [24, 24],
}


@dataclass(frozen=True)
class Feature:
    """What a run has that the plain one has not. ``{work}`` stands for the folder of what was made beforehand."""

    variant: str = CLASSIFIER
    data: str = SCENES
    recipe: dict[str, Any] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)
    starts: bool = False


def _segment(recipe: dict[str, Any] | None = None, **settings: Any) -> Feature:
    return Feature(variant=SEGMENTER, recipe={**WINDOWS, **(recipe or {})}, **settings)


FEATURES = {
    "plain": Feature(),
    "averaged weights": Feature(recipe={"ema_decay": 0.9}),
    "float16": Feature(execution={"precision": "float16"}, recipe={"gradient_clip_norm": 1.0}),
    "bfloat16": Feature(execution={"precision": "bfloat16"}),
    "distillation": Feature(recipe={"distillation": TEACHER}),
    "workers": Feature(execution={"workers": 2}),
    "compile": Feature(variant="resnet20:width=2", execution={"compile": True}),
    "accumulation, evaluation in other batches": Feature(execution={"accumulate": 3, "eval_batch_size": 5}),
    "parquet data": Feature(data=PARQUET),
    "segmentation": _segment(),
    "rmsprop": Feature(recipe={"optimizer": {"name": "rmsprop", "learning_rate": 0.01}}),
    "adamw": Feature(recipe={"optimizer": {"name": "adamw", "learning_rate": 0.01}}),
    "dropout and stochastic depth": Feature(recipe={"dropout": 0.2, "stochastic_depth": 0.3}),
    "AutoAugment": Feature(recipe={"augmentation": {"auto_augment": True}}),
    "RandAugment, colour jitter, erasing": Feature(
        recipe={"augmentation": {"rand_augment": 2, "color_jitter": 0.4, "random_erasing": 0.5}}
    ),
    "mixup and CutMix": Feature(
        recipe={"augmentation": {"mixup": 0.2, "cutmix": 1.0}}, execution={"workers": 1, "accumulate": 2}
    ),
    "starting weights, frozen trunk": Feature(recipe={"freeze": ["layer1.*"]}, starts=True),
    "segmentation with all of it": _segment(
        {"ema_decay": 0.9, "gradient_clip_norm": 1.0},
        execution={"precision": "float16", "accumulate": 2, "workers": 1},
    ),
    "classification with all of it": Feature(
        data=PARQUET,
        recipe={"ema_decay": 0.9, "distillation": TEACHER, "dropout": 0.2, "gradient_clip_norm": 1.0},
        execution={"precision": "float16", "accumulate": 2, "workers": 1},
    ),
}


def make_config(feature: Feature, work: Path) -> RunConfig:
    """The run of ``feature``: three epochs of three batches, saved after every batch."""

    def place(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: place(item) for key, item in value.items()}
        return value.format(work=work) if isinstance(value, str) else value

    recipe = {"name": "kills", "epochs": 3, "batch_size": 16, **place(feature.recipe)}
    execution = {"device": "cpu", "threads": 1, "checkpoint_seconds": 1e-9, **feature.execution}
    return RunConfig(
        variant=feature.variant,
        data=DataConfig(spec=place(feature.data), image_size=32),
        recipe=Recipe.model_validate(recipe),
        init=InitConfig(source=f"{work}/teacher") if feature.starts else None,
        execution=ExecutionConfig.model_validate(execution),
    )


def write_parquet(folder: Path) -> None:
    """48 training and 20 validation images of noise in ten classes."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for split, number in (("train", 48), ("validation", 20)):
        images = []
        for index in range(number):
            stream = io.BytesIO()
            pixels = draw.integers(0, 128, (40, 36, 3)) + 12 * (index % 10)
            Image.fromarray(pixels.astype(np.uint8)).save(stream, "png")
            images.append({"bytes": stream.getvalue(), "path": f"{index}.png"})
        table = pa.table({"image": images, "label": [index % 10 for index in range(number)]})
        pq.write_table(table, folder / f"{split}-00000.parquet")
