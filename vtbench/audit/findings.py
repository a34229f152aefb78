"""What came of one claim, and how near a number must come to a printed one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal

from vtbench.published.claims import UNITS, Claim
from vtbench.records.finding import Finding, Status


def describe_claim(claim: Claim) -> dict[str, str]:
    """The fields of a finding that stand in the claim already."""
    return {name: getattr(claim, name) for name in ("id", "paper", "table", "cell", "quantity", "printed")}


def leave_untested(claim: Claim, reason: str, command: str | None) -> Finding:
    """A claim that nothing here speaks to, and why."""
    return Finding(**describe_claim(claim), here=None, status="not tested", reason=reason, command=command)


def judge_number(
    claim: Claim, candidates: Sequence[tuple[float, str]], command: str, explanations: dict[str, str]
) -> Finding:
    """Hold a printed number against ``candidates``: values in raw units, each with the reading under which it is right.

    It is reproduced if one of them rounds to it, or else is cut off to it, or else lies less than one unit of the last
    printed place away: the paper does all three (1979.74 is printed 1979, 3245.30 is printed 3246).
    """
    assert claim.value is not None and claim.rounding is not None
    unit, step = UNITS[claim.unit], claim.rounding
    scaled = [(Decimal(repr(value)) / unit, reading) for value, reading in candidates]
    for manner, fits in (
        ("", lambda value: _round(value, step, ROUND_HALF_UP) == claim.value),
        ("printed cut off instead of rounded", lambda value: _round(value, step, ROUND_FLOOR) == claim.value),
        ("less than one unit of the last printed place away", lambda value: abs(value - claim.value) < step),
    ):
        for value, reading in scaled:
            if fits(value):
                reason = "; ".join(filter(None, (reading, manner)))
                return _conclude(claim, value, "reproduced", reason, command)
    value, reading = scaled[0]
    reason = explanations[claim.known] if claim.known else "nobody has explained this yet"
    return _conclude(claim, value, "contradicted", f"{reason} Counted: {reading}." if reading else reason, command)


def _conclude(claim: Claim, value: Decimal, status: Status, reason: str, command: str) -> Finding:
    assert claim.value is not None and claim.rounding is not None
    places = max(0, -int(claim.rounding.as_tuple().exponent)) + (2 if claim.unit in ("M", "G") else 1)
    gap = "" if claim.unit == "x" else " "
    return Finding(
        **describe_claim(claim),
        here=f"{value:.{places}f}{gap}{claim.unit}",
        deviation_percent=round(float(value / claim.value - 1) * 100, 3),
        status=status,
        known=status == "contradicted" and bool(claim.known),
        reason=reason,
        command=command,
    )


def _round(value: Decimal, step: Decimal, mode: str) -> Decimal:
    return (value / step).quantize(Decimal(1), rounding=mode) * step
