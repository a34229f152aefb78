"""One model against another, part by part."""

from __future__ import annotations

from collections.abc import Sequence

from vtbench.records.profile import Difference, Part, PartDifference, Profile


def compare_profiles(this: Profile, other: Profile) -> Difference:
    """Pair the parts of both by name; a part that only one of them has costs 0 in the other."""
    rows = [
        PartDifference(group="total", name="MACs", other=other.macs, this=this.macs),
        PartDifference(group="parameters", name="parameters", other=other.params, this=this.params),
        *_pair("stage", other.stages, this.stages),
        *_pair("role", other.roles, this.roles),
        *_pair(
            "operator",
            [Part(name=found.name, macs=found.macs) for found in other.operators if found.macs],
            [Part(name=found.name, macs=found.macs) for found in this.operators if found.macs],
        ),
    ]
    return Difference(other=other.model, parts=tuple(rows))


def _pair(group: str, other: Sequence[Part], this: Sequence[Part]) -> list[PartDifference]:
    others = {part.name: part.macs for part in other}
    these = {part.name: part.macs for part in this}
    names = list(others)
    for name in these:  # A part that is new stands after the one that it follows in its own model.
        if name not in others:
            before = [known for known in list(these)[: list(these).index(name)] if known in names]
            names.insert(names.index(before[-1]) + 1 if before else 0, name)
    return [
        PartDifference(group=group, name=name, other=others.get(name, 0), this=these.get(name, 0)) for name in names
    ]
