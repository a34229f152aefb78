"""The audit as a terminal report and Markdown: contradictions first, then what nobody tested, then what holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from vtbench.documents.table import (
    NOTHING,
    Table,
    escape_controls,
    escape_markdown,
    list_items,
    make_table,
    to_markdown,
)
from vtbench.documents.terminal import lay_out, print_text
from vtbench.records.finding import Finding, Status
from vtbench.registry import order_naturally
from vtbench.units import format_items

_WITH_ITSELF = "the paper with itself"


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
        for remark in _list_remarks(reproduced):
            print_text(f"- {remark}", console)
    print_text(f"\n{count_verdicts(findings)}", console, style="bold")


def render_markdown(findings: Sequence[Finding]) -> str:
    """All findings: how many of each table, and then those that do not hold, those that nobody tested, and the rest."""
    parts = ["# Audit", f"{count_verdicts(findings)}.", to_markdown(tabulate_verdicts(findings)).rstrip()]
    if contradicted := [one for one in findings if one.status == "contradicted"]:
        parts += ["## Contradicted", to_markdown(_tabulate_contradicted(contradicted), padded=False).rstrip()]
    groups = group_untested(findings)
    parts += ["## Not tested"] if groups else []
    for reason, members in groups.items():
        example = f" E.g. `{members[0].command}`." if members[0].command else ""
        parts += [f"{escape_markdown(reason)}{example}", to_markdown(_tabulate(members).without("here")).rstrip()]
    if reproduced := [one for one in findings if one.status == "reproduced"]:
        parts += ["## Reproduced", to_markdown(_tabulate(reproduced)).rstrip(), list_items(_list_remarks(reproduced))]
    return "\n\n".join(part for part in parts if part) + "\n"


def tabulate_verdicts(findings: Sequence[Finding]) -> Table:
    """One row a table of the paper, and one for what it says of itself: how many claims came to which verdict."""
    places = [(_WITH_ITSELF if one.id.startswith("self-") else _name_place(one.table), one.status) for one in findings]
    statuses: tuple[Status, ...] = ("reproduced", "contradicted", "not tested")
    rows = [
        (place, *(str(places.count((place, status))) for status in statuses))
        for place in sorted(
            {place for place, _ in places}, key=lambda place: (place == _WITH_ITSELF, order_naturally(place))
        )
    ]
    return make_table(("claims of", *statuses), rows, numbers=statuses)


def _tabulate_contradicted(contradicted: Sequence[Finding]) -> Table:
    header = ("table", "cell", "quantity", "printed", "here", "off by", "why")
    rows = [
        (
            *(one.table, one.cell, one.quantity, one.printed, one.here or NOTHING, _deviate(one)),
            one.reason if one.known else f"NOT EXPLAINED. {one.reason}",
        )
        for one in contradicted
    ]
    return make_table(header, rows, numbers=("off by",))


def group_untested(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """Claims that were not tested, by reason, the most frequent reason first."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.status == "not tested":
            groups.setdefault(finding.reason, []).append(finding)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def locate(finding: Finding) -> str:
    """Where the claim is printed: ``Table 8, CBAM-R34``."""
    return f"{_name_place(finding.table)}, {finding.cell}"


def _name_place(table: str) -> str:
    several = "s" if "," in table else ""
    return f"Table{several} {table}" if table[0].isdigit() else table.capitalize()


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


def _list_remarks(reproduced: Sequence[Finding]) -> list[str]:
    """What a reproduction depends on, each condition once with the cells that need it."""
    conditions: dict[str, list[str]] = {}
    for finding in reproduced:
        if finding.reason and not finding.id.startswith("self-"):
            conditions.setdefault(finding.reason, []).append(f"{finding.cell} (Table {finding.table})")
    return [f"{condition}: {', '.join(dict.fromkeys(cells))}" for condition, cells in conditions.items()]
