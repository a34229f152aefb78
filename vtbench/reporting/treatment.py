"""Whether two runs were treated alike, by their certificates, and if not what differs, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vtbench.configuration import ExecutionConfig, RunConfig
from vtbench.records import Certificate, RunRecord
from vtbench.settings import read_settings, read_treatment, spell_setting, undo_treatment
from vtbench.written import list_differences

_OWN = ("starting_weights", "network")
SEED_FREE = ("schedule", "recipe", "precision")
"""Certificate fields that do not depend on the seed: a mean over seeds needs them equal."""


def find_differences(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    """What was not the same for both runs, one phrase each; empty where they belong into one comparison.

    Settings that a study declares to be an arm's own may differ: compared is what the runs were certified to be without
    them, and, where they have the same values, what they were certified to be with them. One variant
    must be one network.
    """
    ours, theirs = undo_declared(first), undo_declared(second)
    if any(key.startswith("data.") for record in (first, second) for key in record.config.declared):
        sizes = {size: getattr(first, size) for size in ("num_train", "num_val", "num_classes")}
        theirs = theirs.model_copy(update=sizes)  # They follow from what is declared.
    plain = _compare(ours, theirs)
    if plain or not _are_treated_alike(first, second):
        return plain
    phrases = plain if ours is first and theirs is second else _compare(first, second)
    return (*phrases, "network") if _is_other_network(first, second) else phrases


def _is_other_network(first: RunRecord, second: RunRecord) -> bool:
    """Whether one variant stands for two networks, as where the user's file was changed in between."""
    if first.variant != second.variant or first.certificate is None or second.certificate is None:
        return False
    return first.certificate.network != second.certificate.network


def _are_treated_alike(first: RunRecord, second: RunRecord) -> bool:
    keys = {**first.config.declared, **second.config.declared}
    if not keys:
        return True
    first, second = (one.model_copy(update={"config": _declare(one.config, keys)}) for one in (first, second))
    return read_treatment(first.config) == read_treatment(second.config)


def _declare(config: RunConfig, keys: Iterable[str]) -> RunConfig:
    return config.model_copy(update={"declared": dict.fromkeys(keys)})


Signs = tuple[tuple[str, str], ...]


def sign_treatments(records: Sequence[RunRecord]) -> list[Signs]:
    """Of each record the values of all settings that any of them declares to be its arm's own.

    Arms of one name may have been treated differently. Data that lie elsewhere are the same where their content is.
    """
    keys = sorted({key for record in records for key in record.config.declared})
    if not keys:
        return [()] * len(records)
    contents = {record.config.data.spec: content for record in records if (content := _identify_images(record))}
    signed = []
    for record in records:
        signs = {
            key: spell_setting(value)
            for key, value in read_settings(record.config.data, record.config.recipe, keys).items()
        }
        if "data.spec" in signs:
            signs["data.spec"] = contents.get(record.config.data.spec, signs["data.spec"])
        signed.append(tuple(signs.items()))
    return signed


def _identify_images(record: RunRecord) -> str:
    """What the images of both splits are: by their content, or themselves where no limit cut them; empty: unknown."""
    certificate, data = record.certificate, record.config.data
    if certificate is None:
        return ""
    train = certificate.train_content or (certificate.train_data if data.limit_train is None else "")
    val = certificate.val_content or (certificate.val_data if data.limit_val is None else "")
    return f"{train} {val}" if train and val else ""


def undo_declared(record: RunRecord) -> RunRecord:
    """The record as it would be without what is declared of its arm."""
    if not record.config.declared:
        return record
    certificate = record.certificate
    plain = None if certificate is None else certificate.untreated or certificate
    return record.model_copy(update={"config": undo_treatment(record.config), "certificate": plain})


def _compare(first: RunRecord, second: RunRecord) -> tuple[str, ...]:
    """What was not the same for both runs.

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
        fields = [field for field in Certificate.model_fields if field != "untreated"]
        phrases = _compare_certified(first.certificate, second.certificate, fields)
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
    """The ``fields`` that differ, save what an arm may have of its own; what one does not know is not compared."""
    pairs = {field: (getattr(ours, field), getattr(theirs, field)) for field in fields if field not in _OWN}
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
    """The settings in which the two differ and that neither declares, such as ``recipe.epochs: 90 and 10``."""
    elsewhere = set(ExecutionConfig.model_fields) - {"precision"}  # Where a run was carried out is no treatment.
    differences = list_differences(
        undo_treatment(first.config),
        undo_treatment(second.config),
        exclude={
            "variant": True,
            "seed": True,
            "execution": elsewhere,
            "code": True if first.variant != second.variant else {"path"},
            "init": _has_own_start(first, second) or {"source", "of_arm"},
        },
    )
    return tuple(f"{key}: {spell_setting(ours)} and {spell_setting(theirs)}" for key, ours, theirs in differences)
