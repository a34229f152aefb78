"""Whether two runs were treated alike, by their certificates, and if not what differs, in words."""

from __future__ import annotations

from collections.abc import Iterable

from vtbench.configuration import ExecutionConfig, list_differences
from vtbench.records import Certificate, RunRecord

SEED_FREE = ("schedule", "recipe", "precision")
"""Certificate fields that do not depend on the seed: a mean over seeds needs them equal."""


def find_differences(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    """What was not the same for both runs, one phrase each; empty where they belong into one comparison.

    Runs of two tasks never do. Runs of one seed must agree in the whole certificate. Of two seeds, the sample order and
    the augmentation differ by right, and so do the images that a limit draws; the data are compared by their content,
    wherever they lay, or by what was asked for where that was not certified. A run that failed before it had a
    certificate is compared by its settings; one that finished without a certificate is comparable with nothing.
    Weights to start from that an arm of a study has by itself are its own, and may differ.
    """
    if first.task != second.task:
        return (f"task: {first.task} and {second.task}",)
    if first.certificate is None or second.certificate is None:
        return _compare_without_certificate(first, second)
    if first.seed == second.seed:
        phrases = _compare_certified(first.certificate, second.certificate, Certificate.model_fields)
    else:
        phrases = _compare_seeds(first, first.certificate, second, second.certificate)
    if first.certificate.starting_weights != second.certificate.starting_weights and not _has_own_start(first, second):
        phrases.append("starting weights")
    sizes = (first.num_train, first.num_val, first.num_classes) != (
        second.num_train,
        second.num_val,
        second.num_classes,
    )
    if sizes and not any(phrase.endswith(("data", "content")) for phrase in phrases):
        phrases.append("number of images or classes")
    return tuple(phrases)


def _compare_seeds(first: RunRecord, ours: Certificate, second: RunRecord, theirs: Certificate) -> list[str]:
    """What differs though it does not depend on the seed; of data without a limit that is the images themselves."""
    data, other_data = first.config.data, second.config.data
    limited = {
        "train": not data.limit_train is other_data.limit_train is None,
        "val": not data.limit_val is other_data.limit_val is None,
    }
    of_data = [f"{split}_{'content' if cut else 'data'}" for split, cut in limited.items()]
    phrases = _compare_certified(ours, theirs, (*SEED_FREE, *of_data))
    if all(getattr(one, field) for one in (ours, theirs) for field in of_data):
        data = data.model_copy(update={"spec": other_data.spec})  # What they are is known, so their place says nothing.
    return [*phrases, *(["data"] if data != other_data else [])]


def _compare_certified(ours: Certificate, theirs: Certificate, fields: Iterable[str]) -> list[str]:
    """The ``fields`` that differ, save weights to start from; what one does not know is compared with nothing."""
    pairs = {field: (getattr(ours, field), getattr(theirs, field)) for field in fields if field != "starting_weights"}
    return [field.replace("_", " ") for field, (one, other) in pairs.items() if one != other and one and other]


def is_content_known(record: RunRecord) -> bool:
    """Whether it can be seen by the record that a run of another seed had the same data."""
    data, certificate = record.config.data, record.certificate
    if certificate is None:
        return False
    train, val = certificate.train_content is not None, certificate.val_content is not None
    return (train or data.limit_train is None) and (val or data.limit_val is None)


def _compare_without_certificate(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    for record in (first, second):
        if record.certificate is None and record.status == "finished":
            return (f"{record.variant}, seed {record.seed}, has no certificate of how it was trained",)
    return ("settings",) if find_changed_settings(first, second) else ()


def _has_own_start(*records: RunRecord) -> bool:
    return any(record.config.init is not None and record.config.init.of_arm for record in records)


def find_changed_settings(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    """The settings in which the two configurations differ, such as ``recipe.epochs: 90 and 10``."""
    elsewhere = set(ExecutionConfig.model_fields) - {"precision"}  # Where a run was carried out is no treatment.
    differences = list_differences(
        first.config,
        second.config,
        exclude={
            "variant": True,
            "seed": True,
            "execution": elsewhere,
            "init": _has_own_start(first, second) or {"source", "of_arm"},
        },
    )
    return tuple(f"{key}: {ours} and {theirs}" for key, ours, theirs in differences)
