"""The audit: every claim with its verdict, contradictions first."""

from __future__ import annotations

from collections.abc import Sequence

from vtbench.audit.accuracies import audit_other_training, audit_top1
from vtbench.audit.consistency import audit_consistency
from vtbench.audit.costs import COST_METHODS, audit_cost
from vtbench.audit.counting import CountFunction
from vtbench.errors import UserError, did_you_mean
from vtbench.published.claims import Claim, load_claims, load_explanations, load_inconsistencies
from vtbench.records import RunRecord
from vtbench.records.finding import Finding

ORDER = ("contradicted", "not tested", "reproduced")


def run_audit(count: CountFunction, runs: Sequence[RunRecord] = (), *, table: str | None = None) -> list[Finding]:
    """Judge every claim and every inconsistency of the paper with itself, or only those printed in ``table``.

    ``count`` counts a variant live; ``runs`` are trainings that may speak to claims about accuracy. Contradictions come
    first, those that nobody has explained at the very top; within a verdict the order is that of the tables. Raises
    ``UserError`` for a table that no claim is printed in.
    """
    claims, entries, explanations = load_claims(), load_inconsistencies(), load_explanations()
    by_name = {claim.id: claim for claim in claims}
    if table is not None:
        known = list(dict.fromkeys(claim.table for claim in claims))
        if table not in known:
            raise UserError(f"No claim is printed in table {table!r}. {did_you_mean(table, known)}")
        claims = tuple(claim for claim in claims if claim.table == table)
        entries = tuple(entry for entry in entries if table in entry.table.split(", "))
    findings = [_judge(claim, count, runs, explanations) for claim in claims]
    findings += [audit_consistency(entry, by_name, count) for entry in entries]
    return sorted(findings, key=lambda finding: (ORDER.index(finding.status), finding.known))


def is_clean(findings: Sequence[Finding]) -> bool:
    """Whether nothing is contradicted that is not marked as known."""
    return not any(finding.status == "contradicted" and not finding.known for finding in findings)


def _judge(claim: Claim, count: CountFunction, runs: Sequence[RunRecord], explanations: dict[str, str]) -> Finding:
    if claim.method in COST_METHODS:
        return audit_cost(claim, count, explanations)
    if claim.method == "top1":
        return audit_top1(claim, runs, explanations)
    return audit_other_training(claim)
