"""Render everything under ``reports/`` again from its records, page by page, and the README after it.

Numbers in README.md stand between markers and are rendered from what is committed: never typed by hand.

.. code-block:: text

    <!-- generated: costs -->        the catalogue's costs of the ResNets and their VT twins
    <!-- generated: costs of segmentation -->    those of FPN and VT-FPN
    <!-- generated: evidence -->    what all archived reports together say about the paper's claims
    <!-- generated: setup -->       what the two set-ups take
    <!-- generated: PAGE -->         what a page shows of itself, such as the figure of reports/published
    <!-- generated: STUDY -->        table and figures of the archived report reports/STUDY
    <!-- end -->

``python -m vtbench.reporting.committed`` works on the checkout in the current folder.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from vtbench.documents.table import escape_markdown, list_items, make_table, to_markdown
from vtbench.errors import UserError, did_you_mean
from vtbench.files import publish_text
from vtbench.published.results import load_costs
from vtbench.records import CostRecord
from vtbench.reporting.content import answer_report
from vtbench.reporting.evidence import render_evidence
from vtbench.reporting.factor_tables import list_interaction_notes, tabulate_interactions
from vtbench.reporting.figures import FIGURES
from vtbench.reporting.notes import list_notes
from vtbench.reporting.pages import PAGES
from vtbench.reporting.report import build_report
from vtbench.reporting.runs import is_archive
from vtbench.reporting.setup_sizes import render_setups
from vtbench.reporting.tables import tabulate_summary
from vtbench.units import format_millions

_BLOCK = re.compile(r"(<!-- generated: (?P<name>[^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)
_DEPTHS = (18, 34, 50, 101)
_COSTS = {"costs": ("resnet", "vt_resnet"), "costs of segmentation": ("fpn_resnet", "vt_fpn_resnet")}


def render_committed(reports: Path) -> list[Path]:
    """Render every page beneath ``reports`` in order; the Markdown files."""
    return [path for name in sorted(PAGES, key=lambda name: PAGES[name].order) for path in PAGES[name].write(reports)]


def render_readme(text: str, root: Path) -> str:
    """``text`` with every marked block rendered anew from ``root`` (``reports/`` and the golden costs).

    Raises ``UserError`` for a name that is neither a block nor a study.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}\n{render_block(match['name'], root)}\n\n{match[3]}", text)


def render_block(name: str, root: Path) -> str:
    """The content of one block, as Markdown."""
    if name in _COSTS:
        return render_costs(*_COSTS[name])
    if name == "evidence":
        return render_evidence(root / "reports")
    if name == "setup":
        return render_setups(root / "reports" / "setup")
    if name in PAGES and (block := PAGES[name].block) is not None:
        return block(root / "reports")
    folder = root / "reports" / name
    if is_archive(folder):
        return render_study(folder, name)
    studies = [path.stem for path in sorted((root / "ablations").glob("*.toml"))]
    if name not in studies:
        hint = did_you_mean(name, (*_COSTS, "evidence", "setup", *PAGES, *studies))
        raise UserError(f"README.md has a generated block {name!r}, which is neither a block nor a study. {hint}")
    return f"No report of the study `{name}` has been committed yet."


def render_costs(base_family: str, family: str) -> str:
    """Networks of one family beside their twins: parameters, MACs at their own setting, and what the tokens save."""
    costs = load_costs()
    rows = []
    for depth in _DEPTHS:
        base = costs[f"{base_family}{depth}"]
        for name in (f"{base_family}{depth}", f"{family}{depth}"):
            if (cost := costs.get(name)) is not None:
                change = f"{cost.macs / base.macs - 1:+.1%}" if cost is not base else ""
                rows.append((f"`{name}`", format_millions(cost.params), format_millions(cost.macs), change))
    header = ("model", "params (M)", "MACs (M)", "MACs against the twin")
    return to_markdown(make_table(header, rows, numbers=header[1:])).rstrip()


def render_study(folder: Path, name: str) -> str:
    """Question, answer, summary table, notes and figure of one archived report; of crossed factors their effects.

    Arms that all cost the same are drawn by their differences, not against their costs.
    """
    report = build_report(folder)
    facts, comparison = dict(report.provenance), report.comparisons[0]
    along = tabulate_interactions(comparison)
    parts = [
        escape_markdown(report.outline.question or ""),
        escape_markdown(" ".join(answer_report(report))),
        to_markdown(tabulate_summary(comparison) if along is None else along).rstrip(),
        list_items(list_notes([comparison]) if along is None else list_interaction_notes(comparison)),
        f"Data: {facts['data']}. Recipe: {facts['recipe']}.",
        f"The whole report: [reports/{name}](reports/{name}/report.md), and as a page: `reports/{name}/report.html`.",
    ]
    costs = {arm.costs.macs for arm in comparison.arms if isinstance(arm.costs, CostRecord)}
    instead = "interactions" if along is not None else "effects" if len(costs) == 1 else None
    for figure in FIGURES:
        wanted = not FIGURES[figure].below if instead is None else figure == instead
        if wanted and (folder / f"{figure}.svg").exists():
            title = FIGURES[figure].title
            title = f"{escape_markdown(report.outline.title)}: {title[0].lower()}{title[1:]}"
            parts.append(f"![{title}](reports/{name}/{figure}.svg)")
    return "\n\n".join(part for part in parts if part)


def rewrite_readme(root: Path) -> bool:
    """Render ``README.md`` in ``root`` anew; tells whether that changed it."""
    path = root / "README.md"
    before = path.read_text("utf-8")
    after = render_readme(before, root)
    if after != before:
        publish_text(path, after)
    return after != before


if __name__ == "__main__":
    for _path in render_committed(Path("reports")):
        sys.stdout.write(f"{_path}\n")
    sys.stdout.write("README.md rewritten\n" if rewrite_readme(Path()) else "README.md is up to date\n")
