"""The audit of the literature's claims, written from the findings that ``make golden`` counts."""

from __future__ import annotations

from pathlib import Path

from vtbench.documents.table import to_markdown
from vtbench.files import publish_text
from vtbench.records.finding import Finding
from vtbench.records.record import load_list
from vtbench.reporting.audit_report import count_verdicts, render_markdown, tabulate_verdicts
from vtbench.reporting.pages.page import PAGES, Page

FINDINGS = "findings.json"
_REPEAT = "Made by `vtbench audit --format json`, which counts every cost anew; the findings are in `findings.json`."


def _write_page(reports: Path) -> list[Path]:
    folder = reports / "audit"
    if not (folder / FINDINGS).is_file():
        return []
    findings = load_list(folder / FINDINGS, Finding)
    publish_text(folder / "report.md", f"{render_markdown(findings)}\n{_REPEAT}\n")
    return [folder / "report.md"]


def _render_block(reports: Path) -> str:
    findings = load_list(reports / "audit" / FINDINGS, Finding)
    return (
        f"{to_markdown(tabulate_verdicts(findings))}\n{count_verdicts(findings)}. Claim by claim, and why: "
        "[reports/audit](reports/audit/report.md)."
    )


PAGES.add("audit", Page(order=6, write=_write_page, block=_render_block))
