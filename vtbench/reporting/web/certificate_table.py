"""What the runs of a comparison have in common, and what by right they have not: their certificates in one table."""

from __future__ import annotations

from collections.abc import Sequence

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import Certificate, RunRecord

_SHOWN = 12
"""Letters of a hash."""
_WHAT = {
    "sample_order": "which image came when, in every epoch",
    "augmentation": "every random change to training images",
    "schedule": "the learning rate at every step",
    "recipe": "all settings of the recipe",
    "precision": "numbers of the forward pass",
    "train_data": "the training images of the run",
    "val_data": "the validation images of the run",
    "train_content": "the whole training split",
    "val_content": "the whole validation split",
    "starting_weights": "weights that the run began with",
    "network": "code and layers of a network from outside",
}


def tabulate_certificates(records: Sequence[RunRecord]) -> Table:
    """One row a field: how many values all runs have, whether those of one seed agree, and the values."""
    certified = [record for record in records if record.certificate is not None]
    rows = []
    for field in Certificate.model_fields:
        if field == "untreated":
            continue
        by_seed: dict[int, set[str]] = {}
        for record in certified:
            if (value := getattr(record.certificate, field)) is not None:
                by_seed.setdefault(record.seed, set()).add(value)
        values = sorted(set().union(*by_seed.values()))
        if values:
            verdict = _judge(by_seed, values, is_declared=any(record.config.declared for record in certified))
            having = sum(getattr(record.certificate, field) is not None for record in certified)
            verdict += f" ({having} of {len(certified)} runs have one)" if having < len(certified) else ""
            rows.append((field.replace("_", " "), _WHAT.get(field, NOTHING), verdict, _list_values(by_seed, values)))
    header = ("certificate", "of what", "do the runs agree", f"value, of a SHA-256 the first {_SHOWN} letters")
    return make_table(header, rows)


def _judge(by_seed: dict[int, set[str]], values: Sequence[str], *, is_declared: bool) -> str:
    if len(values) == 1:
        return "the same for all"
    if all(len(own) == 1 for own in by_seed.values()):
        return "the same for all of a seed"
    return f"differ by arm{', as the study declares' if is_declared else ''}"


def _list_values(by_seed: dict[int, set[str]], values: Sequence[str]) -> str:
    if len(values) == 1:
        return _shorten(values[0])
    if all(len(own) == 1 for own in by_seed.values()) and len(by_seed) <= 10:
        return ", ".join(f"seed {seed}: {_shorten(next(iter(own)))}" for seed, own in sorted(by_seed.items()))
    return f"{len(values)} values" if values else NOTHING


def _shorten(value: str) -> str:
    is_hash = len(value) >= 32 and all(letter in "0123456789abcdef" for letter in value)
    return value[:_SHOWN] if is_hash else value
