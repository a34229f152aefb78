"""Claims about costs: near enough is reproduced, and says how near; anything else is contradicted."""

from __future__ import annotations

import pytest
from stand_in_counts import count_from, make_counts

from vtbench.audit.costs import audit_cost
from vtbench.published.claims import Claim, load_claims
from vtbench.records.finding import Finding


def claim_of(method: str, value: str, unit: str = "M", **fields: str) -> Claim:
    places = len(value.partition(".")[2])
    defaults = {
        "id": "c", "paper": "P", "table": "2", "cell": "x", "quantity": "q", "variant": "vt", "against": "",
        "image_size": "224x224", "num_classes": "", "recipe": "", "known": "",
    }  # fmt: skip
    rounding = f"1e-{places}"
    return Claim.model_validate(
        {**defaults, "method": method, "value": value, "unit": unit, "rounding": rounding, **fields}
    )


def judge(claim: Claim, **counts: int) -> Finding:
    return audit_cost(claim, count_from({"vt": make_counts(**counts)}), {"typo": "A digit is wrong."})


@pytest.mark.parametrize(
    ("macs", "status", "reason"),
    [
        (1_578_950_000, "reproduced", ""),
        (1_579_490_000, "reproduced", ""),
        (1_579_740_000, "reproduced", "printed cut off instead of rounded"),
        (1_578_300_000, "reproduced", "less than one unit of the last printed place away"),
        (1_580_010_000, "contradicted", "nobody has explained this yet"),
        (1_577_900_000, "contradicted", "nobody has explained this yet"),
    ],
)
def test_a_printed_number_allows_its_rounding_and_no_more(macs: int, status: str, reason: str) -> None:
    finding = judge(claim_of("macs", "1579"), macs=macs)
    assert (finding.status, finding.reason) == (status, reason)
    assert not finding.known


def test_the_number_here_its_deviation_and_the_command_are_given() -> None:
    finding = judge(claim_of("macs", "1.569", "G"), macs=1_578_950_000)
    assert finding.here == "1.57895 G"
    assert finding.printed == "1.569 G"
    assert finding.deviation_percent == pytest.approx(0.634)
    assert finding.command == "vtbench profile vt --image-size 224"


def test_a_known_contradiction_stays_one_and_gives_its_explanation() -> None:
    finding = judge(claim_of("macs", "3369", known="typo"), macs=3_269_390_000)
    assert (finding.status, finding.known, finding.reason) == ("contradicted", True, "A digit is wrong.")


def test_a_mark_of_a_known_contradiction_does_not_make_a_right_number_wrong() -> None:
    finding = judge(claim_of("macs", "3269", known="typo"), macs=3_269_390_000)
    assert (finding.status, finding.known) == ("reproduced", False)


def test_parameters_may_leave_out_normalisation_only_where_the_paper_does_and_say_so() -> None:
    counts = {"params": 11_760_000, "norm_params": 120_000}
    finding = judge(claim_of("params_but_norm", "11.6"), **counts)
    assert (finding.status, finding.here) == ("reproduced", "11.640 M")
    assert finding.reason == "without the parameters of normalisation"
    assert judge(claim_of("params", "11.6"), **counts).status == "contradicted"
    assert judge(claim_of("params_but_norm", "11.8"), **counts).reason == ""


def test_ratios_are_of_the_base_over_the_variant() -> None:
    vt = make_counts(800, 50, stage5_macs=100, stage5_params=20)
    base = make_counts(1000, 60, stage5_macs=500, stage5_params=30)
    count = count_from({"vt": vt, "base": base})
    for method, printed in (
        ("macs_ratio", "1.25"),
        ("params_ratio", "1.20"),
        ("stage5_macs_ratio", "5.0"),
        ("stage5_params_ratio", "1.5"),
    ):
        finding = audit_cost(claim_of(method, printed, "x", against="base"), count, {})
        assert finding.status == "reproduced", method
        assert finding.command == "vtbench profile vt --against base --image-size 224"


def test_the_largest_reduction_is_taken_over_all_pairs() -> None:
    count = count_from(
        {
            "a": make_counts(stage5_macs=10),
            "b": make_counts(stage5_macs=20),
            "A": make_counts(stage5_macs=69),
            "B": make_counts(stage5_macs=100),
        }
    )
    claim = claim_of("largest_stage5_macs_ratio", "6.9", "x", variant="a b", against="A B")
    assert audit_cost(claim, count, {}).status == "reproduced"
    swapped = claim_of("largest_stage5_macs_ratio", "6.9", "x", variant="b a", against="A B")
    assert audit_cost(swapped, count, {}).status == "contradicted"


def test_a_neck_is_counted_alone_and_as_many_classes_are_asked_for_as_the_table_has() -> None:
    setting = {"image_size": "473x473", "num_classes": "20"}
    count = count_from(
        {"vt_fpn": make_counts(99, neck_macs=2_058_200_000), "fpn": make_counts(99, neck_macs=12_893_000_000)}
    )
    finding = audit_cost(claim_of("neck_macs", "2.0", "G", variant="vt_fpn", **setting), count, {})
    assert (finding.status, finding.here) == ("reproduced", "2.058 G")
    assert finding.command == "vtbench profile vt_fpn --image-size 473 --num-classes 20 --by stage"
    claim = claim_of("neck_macs_ratio", "6.3", "x", variant="vt_fpn", against="fpn", **setting)
    finding = audit_cost(claim, count, {})
    assert (finding.status, finding.here) == ("reproduced", "6.26x")
    assert finding.command == "vtbench profile vt_fpn --against fpn --image-size 473 --num-classes 20"


def test_a_model_that_is_not_registered_leaves_the_claim_untested_with_reason_and_command() -> None:
    finding = audit_cost(claim_of("macs", "1579", variant="vt_x:projector=off"), count_from({}), {})
    assert finding.status == "not tested"
    assert finding.here is None
    assert "no model named 'vt_x:projector=off'" in finding.reason
    assert finding.command == "vtbench profile vt_x:projector=off --image-size 224"


def test_the_other_stride_convention_is_named() -> None:
    claim = claim_of("macs", "3.860", "G", variant="se:stride_in=1x1")
    finding = audit_cost(claim, count_from({"se:stride_in=1x1": make_counts(3_860_490_000)}), {})
    assert finding.status == "reproduced"
    assert "stride in the first 1x1" in finding.reason


def test_the_predictions_for_every_row_of_tables_2_to_7_come_out_as_they_should() -> None:
    predicted = {  # MACs and parameters without normalisation, derived from the structure by hand.
        "vt_resnet18": (1578.95, 11.643),
        "vt_resnet34": (3299.01, 21.848),
        "vt_resnet18:tokenizer=pooling": (1549.69, 11.033),
        "vt_resnet34:tokenizer=pooling": (3245.30, 20.648),
        "vt_resnet18:tokenizer=static": (1564.14, 11.095),
        "vt_resnet34:tokenizer=static": (3269.39, 20.750),
        "vt_resnet18:relations=none": (1527.83, 8.498),
        "vt_resnet34:relations=none": (3222.33, 17.129),
        "vt_resnet18:relations=graph_conv": (1528.36, 8.498),
        "vt_resnet34:relations=graph_conv": (3223.12, 17.130),
        "vt_resnet18:num_tokens=32": (1710.97, 11.648),
        "vt_resnet34:num_tokens=32": (3514.13, 21.852),
        "vt_resnet18:num_tokens=64": (1979.74, 11.656),
        "vt_resnet34:num_tokens=64": (3951.45, 21.860),
        "vt_resnet18:projector=off": (1497.23, 9.333),
        "vt_resnet34:projector=off": (3158.04, 17.342),
    }
    counts = {
        name: make_counts(round(macs * 1e6), round(params * 1e6) + 9000, norm_params=9000)
        for name, (macs, params) in predicted.items()
    }
    claims = [
        claim for claim in load_claims() if claim.table in "234567" and claim.method in ("macs", "params_but_norm")
    ]
    explanations = {"vt_t4_recurrent": "A digit is wrong."}
    findings = [audit_cost(claim, count_from(counts), explanations) for claim in claims if claim.variant in counts]
    assert len(findings) == 2 * (2 + 2 * 2 + 4 + 6 + 6 + 4)
    assert [finding.id for finding in findings if finding.status != "reproduced"] == [
        "t4-vt_resnet34-recurrent_no-macs"
    ]
