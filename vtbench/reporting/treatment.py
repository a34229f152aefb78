"""Whether two runs were treated alike, by their certificates, and if not what differs, in words."""

from __future__ import annotations

from vtbench.configuration import ExecutionConfig, list_differences
from vtbench.records import Certificate, RunRecord

SEED_FREE = ("schedule", "recipe", "precision")
"""Certificate fields that do not depend on the seed: a mean over seeds needs them equal."""


def find_differences(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    """What was not the same for both runs, one phrase each; empty where they belong into one comparison.

    Runs of two tasks never do. Runs of one seed must agree in the whole certificate. Of two seeds, the sample order and
    the augmentation differ by right, and the data are compared by what was asked for. A run that failed before it had a
    certificate is compared by its settings; one that finished without a certificate is comparable with nothing.
    """
    if first.task != second.task:
        return (f"task: {first.task} and {second.task}",)
    if first.certificate is None or second.certificate is None:
        return _compare_without_certificate(first, second)
    fields = tuple(Certificate.model_fields) if first.seed == second.seed else SEED_FREE
    differing = [field for field in fields if getattr(first.certificate, field) != getattr(second.certificate, field)]
    phrases = [field.replace("_", " ") for field in differing]
    if first.seed != second.seed and first.config.data != second.config.data:
        phrases.append("data")
    sizes = (first.num_train, first.num_val, first.num_classes) != (
        second.num_train,
        second.num_val,
        second.num_classes,
    )
    if sizes and not {"train data", "val data", "data"} & set(phrases):
        phrases.append("number of images or classes")
    return tuple(phrases)


def _compare_without_certificate(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    for record in (first, second):
        if record.certificate is None and record.status == "finished":
            return (f"{record.variant}, seed {record.seed}, has no certificate of how it was trained",)
    return ("settings",) if find_changed_settings(first, second) else ()


def find_changed_settings(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    """The settings in which the two configurations differ, such as ``recipe.epochs: 90 and 10``."""
    elsewhere = set(ExecutionConfig.model_fields) - {"precision"}  # Where a run was carried out is no treatment.
    differences = list_differences(
        first.config, second.config, exclude={"variant": True, "seed": True, "execution": elsewhere}
    )
    return tuple(f"{key}: {ours} and {theirs}" for key, ours, theirs in differences)
