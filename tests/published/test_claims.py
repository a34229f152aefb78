"""The literature's data are complete, consistent with themselves as data, and readable."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from vtbench.published.claims import load_claims, load_explanations, load_inconsistencies
from vtbench.published.results import load_costs
from vtbench.variants import split_variant


def test_every_table_of_the_paper_has_all_its_cells() -> None:
    cells = Counter(claim.table for claim in load_claims())
    # Rows x printed quantities; Table 2 also prints training accuracy, Table 8 prints no cost for A2.
    expected = {"1": 16, "2": 16, "3": 18, "4": 12, "5": 18, "6": 18, "7": 12, "8": 33 * 3 - 2, "9": 12, "10": 12}
    assert {table: cells[table] for table in expected} == expected


def test_the_headline_claims_are_there() -> None:
    headline = {claim.id: claim.printed for claim in load_claims() if claim.id.startswith("headline")}
    assert headline == {
        "headline-stage5": "6.9x",
        "headline-gain": "4.53 points",
        "headline-fpn-low": "6.4x",
        "headline-fpn-high": "6.5x",
        "headline-miou": "0.35 points",
        "headline-order": "stated",
    }


def test_every_claim_has_a_name_of_its_own() -> None:
    names = Counter(claim.id for claim in load_claims())
    assert [name for name, times in names.items() if times > 1] == []


def test_the_rounding_is_one_unit_of_the_last_printed_place() -> None:
    for claim in load_claims():
        if claim.value is None:
            assert claim.rounding is None
        else:
            assert claim.rounding == Decimal(1).scaleb(int(claim.value.as_tuple().exponent)), claim.id


def test_every_variant_is_spelt_as_a_variant() -> None:
    for claim in load_claims():
        for name in (*claim.variant.split(), *claim.against.split()):
            split_variant(name)


def test_every_known_contradiction_is_explained_and_no_explanation_is_idle() -> None:
    marks = {claim.known for claim in load_claims() if claim.known}
    assert marks == set(load_explanations())


def test_counts_that_explanations_state_are_those_of_the_models_here() -> None:
    told, costs = load_explanations(), load_costs()
    resnet50, vit, glore = costs["vt_resnet50"], costs["vit_b_16"], costs["glore_resnet50"]
    assert f"{resnet50.macs / 1e6:.1f} M and {resnet50.params / 1e6:.2f} M" in told["vt_r50"]
    assert f"{costs['resnet101'].params / 1e6:.3f} M with normalisation" in told["resnet101_params"]
    assert f"{vit.params / 1e6:.2f} M with everything" in told["vit_params"]
    assert f"{glore.macs / 1e9:.2f} G are counted with the stride in the 3x3" in told["glore_macs"]


def test_a_ratio_has_two_sides() -> None:
    for claim in load_claims():
        if claim.method.endswith("_ratio"):
            assert len(claim.variant.split()) == len(claim.against.split()) >= 1, claim.id


def test_the_six_inconsistencies_of_the_paper_are_there_and_speak_of_known_claims() -> None:
    entries = load_inconsistencies()
    assert {1, 2, 3, 4, 5, 6} <= {entry.number for entry in entries}
    names = {claim.id for claim in load_claims()}
    for entry in entries:
        assert set(entry.claims) <= names, entry.id
        assert entry.explanation
