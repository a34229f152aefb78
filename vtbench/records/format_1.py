"""Records of format 1, which knew one task and one metric, as those of today. Committed archives hold such records."""

from __future__ import annotations

from typing import Any


def upgrade_epoch(plain: Any) -> Any:
    """The fields of an epoch of format 1 by today's names; anything else comes back as it is."""
    if not isinstance(plain, dict) or "train_loss" not in plain:
        return plain
    values = dict(plain)
    read = {
        part: {key: values.pop(f"{old}_{key}", None) for key in ("loss", "top1_percent")}
        for part, old in (("train", "train"), ("val", "val"), ("averaged_val", "ema_val"))
    }
    return values | {part: numbers for part, numbers in read.items() if None not in numbers.values()}


def upgrade_run(plain: Any) -> Any:
    """The fields of a run of format 1 by today's names; anything else comes back as it is."""
    if not isinstance(plain, dict) or "val_top1_percent" not in plain:
        return plain
    values = dict(plain)
    headline = values.pop("val_top1_percent")
    if not isinstance(headline, float):
        return values | {"task": "classification", "outcome": headline}
    epochs = [upgrade_epoch(epoch) for epoch in values["epochs"]]
    last = epochs[-1].get("averaged_val") or epochs[-1]["val"] if epochs else {}
    return values | {"task": "classification", "epochs": epochs, "outcome": {**last, "top1_percent": headline}}
