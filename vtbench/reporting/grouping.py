"""Sort runs into comparisons without comparing each with each.

Runs that cannot be compared, whatever else they are, are kept in different lots from the start. Within a comparison a
run is held against the reference of its own seed, and of the other seeds against one of each kind: whether runs of two
seeds may be compared follows from what they are without what the seed decides.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from vtbench.records import RunRecord
from vtbench.reporting.outline import name_arm
from vtbench.reporting.treatment import SEED_FREE, find_differences, sign_treatments, undo_declared

Kind = tuple[Hashable, ...]


def group_runs(records: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, list[RunRecord]]]:
    """The comparisons of ``records``, each with the run that leads it: the first finished one of those that are left.

    A run joins if nothing that two arms must share differs from the runs that joined before (see `find_differences`),
    and if its cell is not there yet. Order is kept.
    """
    places = {id(record): place for place, record in enumerate(records)}
    lots: dict[Kind | None, dict[int, RunRecord]] = {}
    for record in records:
        lots.setdefault(_find_lot(record), {})[id(record)] = record
    waiting = dict(zip(places, records, strict=True))
    verdicts, cells = _Verdicts(), _identify_cells(records)
    while waiting:
        lead = next((record for record in waiting.values() if record.status == "finished"), None)
        lead = lead or next(iter(waiting.values()))
        lot = _find_lot(lead)
        chosen = waiting if lot is None else {**lots[lot], **lots.get(None, {})}
        in_order = sorted(chosen.values(), key=lambda record: places[id(record)])
        members = _gather(lead, in_order, verdicts, cells)
        for record in members:
            del waiting[id(record)]
            del lots[_find_lot(record)][id(record)]
        yield lead, members


def _gather(
    lead: RunRecord, waiting: Sequence[RunRecord], verdicts: _Verdicts, cells: Mapping[int, Kind]
) -> list[RunRecord]:
    members: list[RunRecord] = []
    references = {lead.seed: lead}
    kinds = {verdicts.name_kind(lead): {lead.seed: lead}}
    networks: dict[str, RunRecord] = {}
    occupied = {cells[id(lead)]}
    for record in waiting:
        if record is not lead:
            others = (_find_other(seeds, record.seed) for seeds in kinds.values())
            held_against = (references.get(record.seed), networks.get(record.variant), *others)
            unlike = any(other is not None and verdicts.differ(other, record) for other in held_against)
            if unlike or cells[id(record)] in occupied:
                continue
        members.append(record)
        occupied.add(cells[id(record)])
        if record.certificate is None:
            continue
        if record.seed not in references:
            references[record.seed] = record
            seeds = kinds.setdefault(verdicts.name_kind(record), {})
            if len(seeds) < 2:  # Whatever the seed of a run, one of two is another.
                seeds[record.seed] = record
        if record.certificate.network is not None:  # The name of the variant leaves open which network it is.
            networks.setdefault(record.variant, record)
    return members


class _Verdicts:
    """Whether two runs differ; of two seeds it is found out once for all runs of their kinds."""

    def __init__(self) -> None:
        self._kinds: dict[int, Kind] = {}
        self._known: dict[tuple[Kind, Kind], bool] = {}

    def name_kind(self, record: RunRecord) -> Kind:
        """Everything that `find_differences` looks at in runs of two seeds."""
        if (kind := self._kinds.get(id(record))) is None:
            sizes = (record.num_train, record.num_val, record.num_classes)
            own = _describe(record)
            parts = (own, _describe(undo_declared(record)) if record.config.declared else own)
            kind = self._kinds[id(record)] = (record.task, record.status, record.variant, sizes, *parts)
        return kind

    def differ(self, first: RunRecord, second: RunRecord) -> bool:
        if first.seed == second.seed:
            return bool(find_differences(first, second))
        pair = (self.name_kind(first), self.name_kind(second))
        if pair not in self._known:
            self._known[pair] = bool(find_differences(first, second))
        return self._known[pair]


def _describe(record: RunRecord) -> tuple[str, str | None]:
    """Configuration and certificate without the seed and what it decides; of limited data that is which images."""
    of_seed = {"sample_order", "augmentation", "untreated"}
    data = record.config.data
    of_seed |= {f"{name}_data" for name in ("train", "val") if getattr(data, f"limit_{name}") is not None}
    certificate = record.certificate
    config = record.config.model_dump_json(exclude={"seed"})
    return config, None if certificate is None else certificate.model_dump_json(exclude=of_seed)


def _find_lot(record: RunRecord) -> Kind | None:
    """Runs of two lots are never compared; None where that is not said, because it is not known or declared."""
    if record.certificate is None or record.config.declared:
        return None
    values = tuple(getattr(record.certificate, field) for field in SEED_FREE)
    return (record.task, *values) if all(values) else None


def _find_other(seeds: dict[int, RunRecord], seed: int) -> RunRecord | None:
    return next((record for own, record in seeds.items() if own != seed), None)


def _identify_cells(records: Sequence[RunRecord]) -> dict[int, Kind]:
    """The cell of each record, by the identity of this."""
    return {
        id(record): (name_arm(record), record.variant, signs, record.seed)
        for record, signs in zip(records, sign_treatments(records), strict=True)
    }
