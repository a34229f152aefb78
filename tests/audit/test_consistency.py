"""The paper against itself: every check can find fault and can find none."""

from __future__ import annotations

from decimal import Decimal

import pytest
from stand_in_counts import count_from, make_counts

from vtbench.audit.consistency import audit_consistency
from vtbench.published.claims import Claim, Inconsistency, load_claims, load_inconsistencies
from vtbench.records.finding import Finding

CLAIMS = {claim.id: claim for claim in load_claims()}
COUNT = count_from(
    {
        "resnet34": make_counts(stage5_macs=642_252_800),
        "resnet50": make_counts(stage5_macs=809_240_000),
        "resnet101": make_counts(stage5_macs=809_240_000),
        "fpn_resnet50": make_counts(37_335_000_000),
        "fpn_resnet101": make_counts(54_381_000_000),
        "vt_fpn_resnet50": make_counts(26_500_000_000),
        "vt_fpn_resnet101": make_counts(43_546_000_000),
    }
)


COUNT_AT_800 = count_from({"fpn_resnet50": make_counts(159_134_500_000), "fpn_resnet101": make_counts(231_105_600_000)})


def audit(name: str, **changed: str) -> Finding:
    """Audit the entry ``name``, with some printed values replaced by others."""
    entry = next(entry for entry in load_inconsistencies() if entry.id == name)
    claims = {
        **CLAIMS,
        **{key: CLAIMS[key].model_copy(update={"value": Decimal(text)}) for key, text in changed.items()},
    }
    return audit_consistency(entry, claims, COUNT)


@pytest.mark.parametrize("entry", load_inconsistencies(), ids=lambda entry: entry.id)
def test_all_but_those_named_are_contradictions_and_all_are_known(entry: Inconsistency) -> None:
    finding = audit_consistency(entry, CLAIMS, COUNT_AT_800 if entry.table == "9" else COUNT)
    if entry.id in ("self-5-r50-t8", "self-8-fpn-t9"):
        assert finding.status == "reproduced"
    else:
        assert (finding.status, finding.known) == ("contradicted", True)


@pytest.mark.parametrize(
    ("name", "claim", "value"),
    [
        ("self-1", "t4-vt_resnet34-recurrent_no-macs", "3269"),
        ("self-2-r18-macs", "t8-vt_resnet18-macs", "1.579"),
        ("self-2-r34-params", "t8-vt_resnet34-params", "21.8"),
        ("self-3-r34", "t2-vt_resnet34-macs", "3280"),
        ("self-4", "t3-vt_resnet34-tokenizer_clustering-macs", "3300"),
        ("self-5-r34-t2", "t1-r34-stage5-macs", "2.3"),
        ("self-5-r101-t8", "t1-r101-stage5-macs", "5.9"),
        ("self-7-r34-macs", "t1-r34-total-macs", "1.11"),
        ("self-8-fpn-t10", "t10-fpn_resnet50-total", "37.3"),
        ("self-8-vt-t10", "t10-vt_fpn_resnet101-total", "43.5"),
    ],
)
def test_each_would_hold_if_the_doubtful_number_were_another(name: str, claim: str, value: str) -> None:
    assert audit(name).status == "contradicted"
    assert audit(name, **{claim: value}).status == "reproduced"


def test_the_reductions_that_the_totals_leave_room_for_are_given() -> None:
    assert audit("self-5-r34-t2").here == "the totals leave room for 2.32x"
    assert audit("self-5-r34-t8").here == "the totals leave room for 3.00x"
    assert audit("self-5-r50-t8").here == "the totals leave room for 6.12x"


def test_the_difference_of_two_trunks_is_given_beside_that_of_the_printed_totals() -> None:
    finding = audit("self-8-fpn-t10")
    assert finding.printed == "17.3 G between them"
    assert finding.here == "54.4 G less 37.1 G is 17.3, the trunks differ by 17.05"


def test_a_check_that_needs_a_count_is_not_tested_without_one() -> None:
    entry = next(entry for entry in load_inconsistencies() if entry.id == "self-5-r34-t2")
    finding = audit_consistency(entry, CLAIMS, count_from({}))
    assert (finding.status, finding.known) == ("not tested", False)
    assert "resnet34" in finding.reason


def test_the_claims_of_a_check_are_in_the_data() -> None:
    assert all(isinstance(CLAIMS[name], Claim) for entry in load_inconsistencies() for name in entry.claims)
