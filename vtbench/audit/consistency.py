"""The paper against itself: sums over printed numbers, as rows of the audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from vtbench.audit.counting import CountFunction, Counts
from vtbench.published.claims import UNITS, Claim, Inconsistency
from vtbench.records import NotMeasured
from vtbench.records.finding import Finding


@dataclass(frozen=True)
class Outcome:
    """Whether what ought to hold does, and the two sides of it in words."""

    holds: bool
    printed: str
    here: str


def audit_consistency(entry: Inconsistency, claims: Mapping[str, Claim], count: CountFunction) -> Finding:
    """Check one entry. All are known: they are the paper's own, and no count here can make them go away."""
    chosen = [claims[name] for name in entry.claims]
    outcome = _CHECKS[entry.check](entry, chosen, count)
    if isinstance(outcome, NotMeasured):
        outcome_fields = {"printed": chosen[0].printed, "here": None, "status": "not tested", "known": False}
        reason = outcome.reason
    else:
        status = "reproduced" if outcome.holds else "contradicted"
        outcome_fields = {
            "printed": outcome.printed,
            "here": outcome.here,
            "status": status,
            "known": not outcome.holds,
        }
        reason = entry.explanation
    return Finding.model_validate(
        {
            "id": entry.id,
            "paper": "VT-ICCV21",
            "table": entry.table,
            "cell": "the paper with itself",
            "quantity": entry.statement,
            "reason": reason,
            **outcome_fields,
        }
    )


def _check_at_most(_: Inconsistency, chosen: list[Claim], __: CountFunction) -> Outcome:
    first, second = chosen
    return Outcome(_raw(first) <= _raw(second), first.printed, f"printed beside it: {second.printed}")


def _check_equal(_: Inconsistency, chosen: list[Claim], __: CountFunction) -> Outcome:
    first, second = chosen
    coarser = max(_step(first), _step(second))
    return Outcome(abs(_raw(first) - _raw(second)) < coarser, first.printed, f"elsewhere: {second.printed}")


def _check_saving(entry: Inconsistency, chosen: list[Claim], _: CountFunction) -> Outcome:
    full, reduced = chosen
    saving = (_raw(full) - _raw(reduced)) / UNITS[full.unit]
    holds = all(abs(saving - stated) < _step(full) / UNITS[full.unit] for stated in entry.stated)
    named = ", ".join(f"{stated} {full.unit}" for stated in entry.stated)
    return Outcome(holds, named, f"the table gives {saving} {full.unit}")


def _check_ratio(_: Inconsistency, chosen: list[Claim], __: CountFunction) -> Outcome:
    ratio, above, below = chosen
    implied = _raw(above) / _raw(below)
    holds = abs(implied - _raw(ratio)) < _step(ratio)
    return Outcome(holds, ratio.printed, f"{above.printed} over {below.printed} is {implied:.2f}x")


def _check_stage5_ratio(_: Inconsistency, chosen: list[Claim], count: CountFunction) -> Outcome | NotMeasured:
    """If the whole saving is made in stage 5, the reduction is stage 5 over stage 5 less the saving."""
    ratio, full, reduced = chosen
    counted = count(full.variant, full.image_size, full.num_classes)
    if isinstance(counted, NotMeasured):
        return counted
    stage5 = Decimal(counted.stage_macs["stage5"])
    implied = stage5 / (stage5 - (_raw(full) - _raw(reduced)))
    holds = abs(implied - _raw(ratio)) < _step(ratio)
    return Outcome(holds, ratio.printed, f"the totals leave room for {implied:.2f}x")


def _check_trunk_difference(_: Inconsistency, chosen: list[Claim], count: CountFunction) -> Outcome | NotMeasured:
    counted = [count(claim.variant, claim.image_size, claim.num_classes) for claim in chosen]
    for one in counted:
        if isinstance(one, NotMeasured):
            return one
    deep, shallow = (one.macs for one in counted if isinstance(one, Counts))
    first, second = chosen
    implied, unit = _raw(first) - _raw(second), UNITS[first.unit]
    here = (
        f"{first.printed} less {second.printed} is {implied / unit}, the trunks differ by {(deep - shallow) / unit:.2f}"
    )
    return Outcome(abs(implied - (deep - shallow)) < _step(first), f"{implied / unit} {first.unit} between them", here)


def _check_stated(_: Inconsistency, __: list[Claim], ___: CountFunction) -> Outcome:
    return Outcome(False, "stated twice, differently", "")


def _raw(claim: Claim) -> Decimal:
    assert claim.value is not None
    return claim.value * UNITS[claim.unit]


def _step(claim: Claim) -> Decimal:
    assert claim.rounding is not None
    return claim.rounding * UNITS[claim.unit]


_CHECKS: dict[str, Callable[[Inconsistency, list[Claim], CountFunction], Outcome | NotMeasured]] = {
    "at_most": _check_at_most,
    "equal": _check_equal,
    "saving": _check_saving,
    "ratio": _check_ratio,
    "stage5_ratio": _check_stage5_ratio,
    "trunk_difference": _check_trunk_difference,
    "stated": _check_stated,
}
