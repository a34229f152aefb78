"""The audit as a terminal report and Markdown: contradictions first, then what nobody tested, then what holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from vtbench.documents.table import NOTHING, Table, escape_controls, make_table, to_markdown
from vtbench.documents.terminal import lay_out, print_text
from vtbench.records.finding import Finding
from vtbench.units import format_items


def count_verdicts(findings: Sequence[Finding]) -> str:
    """One line: how many claims came to which verdict."""
    verdicts = Counter(finding.status for finding in findings)
    unexplained = sum(finding.status == "contradicted" and not finding.known for finding in findings)
    return (
        f"{format_items(len(findings), 'claim')}: {verdicts['contradicted']} contradicted "
        f"({unexplained} of them not explained), "
        f"{verdicts['not tested']} not tested, {verdicts['reproduced']} reproduced"
    )


def print_audit(findings: Sequence[Finding], console: Console) -> None:
    """All findings. Claims that were not tested for the same reason are listed together."""
    print_text(count_verdicts(findings), console, style="bold")
    contradicted = [finding for finding in findings if finding.status == "contradicted"]
    if contradicted:
        print_text("\nContradicted", console, style="bold red")
    for finding in contradicted:
        print_text(f"\n{locate(finding)}: {finding.quantity}", console, style="" if finding.known else "bold red")
        console.print(_indent(_compare(finding)))
        console.print(_indent(finding.reason, style="dim"))
    groups = group_untested(findings)
    if groups:
        print_text("\nNot tested", console, style="bold yellow")
    for reason, members in groups.items():
        print_text(f"\n{len(members)}: {reason}", console)
        console.print(_indent(_list_places(members)))
        if members[0].command:
            console.print(_indent(f"e.g. {members[0].command}", style="dim"))
    reproduced = [finding for finding in findings if finding.status == "reproduced"]
    if reproduced:
        print_text("\nReproduced", console, style="bold green")
        console.print(lay_out(_tabulate(reproduced), gap=3))
        _print_remarks(reproduced, console)
    print_text(f"\n{count_verdicts(findings)}", console, style="bold")


def render_markdown(findings: Sequence[Finding]) -> str:
    """One table of all findings, in the order of the audit."""
    header = ("verdict", "table", "cell", "quantity", "printed", "here", "off by", "why", "command")
    rows = [
        (
            f"{finding.status}{' (known)' if finding.known else ''}",
            *(finding.table, finding.cell, finding.quantity, finding.printed, finding.here or NOTHING),
            *(_deviate(finding), finding.reason, f"`{finding.command}`" if finding.command else ""),
        )
        for finding in findings
    ]
    return f"# Audit\n\n{count_verdicts(findings)}.\n\n{to_markdown(make_table(header, rows), padded=False)}"


def group_untested(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Claims that were not tested, by reason, the most frequent reason first."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.status == "not tested":
            groups.setdefault(finding.reason, []).append(finding)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def locate(finding: Finding) -> str:
    """Where the claim is printed: ``Table 8, CBAM-R34``."""
    several = "s" if "," in finding.table else ""
    place = f"Table{several} {finding.table}" if finding.table[0].isdigit() else finding.table.capitalize()
    return f"{place}, {finding.cell}"


def _indent(text: str, *, style: str = "") -> Padding:
    return Padding(Text(escape_controls(text), style=style), (0, 0, 0, 2), expand=False)


def _compare(finding: Finding) -> str:
    here = f", here {finding.here}" if finding.here and not finding.id.startswith("self-") else ""
    beside = f"; {finding.here}" if finding.here and finding.id.startswith("self-") else ""
    off = f" ({_deviate(finding)})" if finding.deviation_percent is not None else ""
    return f"printed {finding.printed}{here}{beside}{off}{'' if finding.known else ', NOT EXPLAINED'}"


def _deviate(finding: Finding) -> str:
    return "" if finding.deviation_percent is None else f"{finding.deviation_percent:+.2f} %"


def _list_places(members: Sequence[Finding]) -> str:
    tables: dict[str, list[str]] = {}
    for finding in members:
        tables.setdefault(finding.table, []).append(f"{finding.cell} ({finding.quantity})")
    return "; ".join(
        f"{'Table ' if table[0].isdigit() else ''}{table}: {cells[0] if len(cells) == 1 else f'{len(cells)} cells'}"
        for table, cells in tables.items()
    )


def _tabulate(reproduced: Sequence[Finding]) -> Table:
    header = ("table", "cell", "quantity", "printed", "here")
    rows = [(one.table, one.cell, one.quantity, one.printed, one.here or "") for one in reproduced]
    return make_table(header, rows, numbers=header[3:])


def _print_remarks(reproduced: Sequence[Finding], console: Console) -> None:
    """What a reproduction depends on, each condition once with the cells that need it."""
    conditions: dict[str, list[str]] = {}
    for finding in reproduced:
        if finding.reason and not finding.id.startswith("self-"):
            conditions.setdefault(finding.reason, []).append(f"{finding.cell} (Table {finding.table})")
    for condition, cells in conditions.items():
        print_text(f"- {condition}: {', '.join(dict.fromkeys(cells))}", console)
