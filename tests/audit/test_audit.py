"""The audit as a whole: order, exit code, formats, and the live run over every registered model."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from stand_in_counts import count_from, make_counts
from typer.testing import CliRunner

from vtbench.audit import counting
from vtbench.audit.audit import is_clean, run_audit
from vtbench.audit.counting import make_counter
from vtbench.cli.main import app
from vtbench.errors import UserError
from vtbench.published.claims import Claim, load_claims, load_inconsistencies
from vtbench.records import to_json
from vtbench.records.finding import Finding
from vtbench.reporting.audit_report import group_untested, print_audit, render_markdown, tabulate_verdicts

WRONG = count_from(
    {
        "vt_resnet18": make_counts(1, 1, stage5_macs=1, stage5_params=1),
        "resnet18": make_counts(1_814_000_000, 11_690_000, stage5_macs=411_040_000, stage5_params=8_390_000),
    }
)
ALL = len(load_claims()) + len(load_inconsistencies())


def list_stale_marks(findings: Sequence[Finding], claims: Sequence[Claim]) -> list[str]:
    """Ids of claims that are marked as known contradictions and are none (any more)."""
    verdicts = {finding.id: finding.status for finding in findings}
    return [claim.id for claim in claims if claim.known and verdicts[claim.id] == "reproduced"]


def test_contradictions_come_first_and_the_unexplained_before_the_known() -> None:
    findings = run_audit(WRONG)
    order = [(finding.status, finding.known) for finding in findings]
    assert order == sorted(order, key=lambda one: (["contradicted", "not tested", "reproduced"].index(one[0]), one[1]))
    assert order[0] == ("contradicted", False)
    assert len(findings) == ALL


def test_an_unexplained_contradiction_is_not_clean_and_known_ones_are() -> None:
    assert not is_clean(run_audit(WRONG))
    assert is_clean(run_audit(count_from({})))


def test_one_table_can_be_asked_for() -> None:
    findings = run_audit(WRONG, table="4")
    assert {finding.table for finding in findings} == {"4"}
    assert any(finding.id == "self-1" for finding in findings)
    with pytest.raises(UserError, match="No claim is printed in table '44'"):
        run_audit(WRONG, table="44")


def test_a_mark_on_a_claim_that_holds_is_found() -> None:
    claims = [claim for claim in load_claims() if claim.id == "t8-vt_resnet18-macs"]
    findings = run_audit(count_from({"vt_resnet18": make_counts(1_569_000_000, 11_700_000)}), table="8")
    assert list_stale_marks(findings, claims) == ["t8-vt_resnet18-macs"]


def test_the_terminal_report_fits_80_columns_and_names_every_contradiction() -> None:
    stream = io.StringIO()
    findings = run_audit(WRONG)
    print_audit(findings, Console(file=stream, width=80, highlight=False))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("printed ") >= sum(finding.status == "contradicted" for finding in findings)
    assert "NOT EXPLAINED" in text
    assert text.startswith(f"{ALL} claims: ")


def test_untested_claims_are_listed_together_by_reason_and_none_is_lost() -> None:
    findings = run_audit(WRONG)
    groups = group_untested(findings)
    assert sum(map(len, groups.values())) == sum(finding.status == "not tested" for finding in findings)
    assert all(groups)


def test_markdown_and_json_hold_every_finding() -> None:
    findings = run_audit(WRONG)
    rows = [line for line in render_markdown(findings).splitlines() if line.startswith("| ")]
    tables = sum(line.startswith("| -") for line in rows)
    places = len(tabulate_verdicts(findings).rows)
    assert len(rows) == len(findings) + places + 2 * tables
    counted = [[int(number) for number in row[1:]] for row in tabulate_verdicts(findings).rows]
    assert [sum(column) for column in zip(*counted, strict=True)] == [
        sum(one.status == status for one in findings) for status in ("reproduced", "contradicted", "not tested")
    ]
    assert "NOT EXPLAINED. " in render_markdown(findings)
    plain = json.loads(to_json(findings))
    assert [entry["id"] for entry in plain] == [finding.id for finding in findings]


@pytest.mark.parametrize(("count", "code"), [(WRONG, 1), (count_from({}), 0)])
def test_the_exit_code_tells_whether_something_new_is_contradicted(
    monkeypatch: pytest.MonkeyPatch, count: object, code: int
) -> None:
    monkeypatch.setattr(counting, "make_counter", lambda: count)
    answer = CliRunner().invoke(app, ["audit", "--format", "json"])
    assert answer.exit_code == code
    assert len(json.loads(answer.stdout)) == ALL


def test_a_folder_without_runs_is_a_users_mistake(tmp_path: object) -> None:
    with pytest.raises(UserError, match="no run record"):
        CliRunner().invoke(app, ["audit", str(tmp_path)], catch_exceptions=False)


def test_counted_live_nothing_is_contradicted_that_is_not_known_and_no_mark_is_stale() -> None:
    findings = run_audit(make_counter())
    unexplained = [finding for finding in findings if finding.status == "contradicted" and not finding.known]
    assert [(finding.id, finding.printed, finding.here) for finding in unexplained] == []
    assert list_stale_marks(findings, load_claims()) == []
    committed = Path(__file__).parents[2] / "reports" / "audit" / "findings.json"
    assert to_json(findings) == committed.read_text("utf-8"), "make golden writes it"
    costs = {finding.id: finding for finding in findings}
    assert costs["t2-resnet34-macs"].here == "3663.76 M"
    assert costs["t8-vit_b_16-macs"].status == "reproduced"
    cells = [finding for finding in findings if finding.id.startswith(("t9-", "t10-"))]
    assert sum(finding.status == "not tested" for finding in cells) == 8  # Accuracy takes training on their data.
    counted = {finding.id: finding for finding in cells if finding.status != "not tested"}
    assert len(counted) == 16
    wrong = {name for name, finding in counted.items() if finding.status == "contradicted"}
    assert wrong == {"t10-fpn_resnet50-total"}
    assert counted["t9-vt_fpn_resnet50-head"].here == "8.516 G"
    assert counted["t10-vt_fpn_resnet101-total"].here == "43.546 G"
    assert costs["headline-fpn-low"].here == "6.26x"
    assert costs["headline-fpn-high"].here == "6.47x"
