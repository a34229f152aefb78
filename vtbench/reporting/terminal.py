"""Reports in the terminal: they fit 80 columns, and read as plain lines when piped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.documents.terminal import lay_out, print_text
from vtbench.records import NotMeasured
from vtbench.records.tokens import ForegroundRecord, ModuleMapsRecord, TokensRecord
from vtbench.reporting.class_tables import SCREEN
from vtbench.reporting.content import (
    answer_report,
    explain_apart,
    list_all_notes,
    list_further_tables,
    list_tuning_tables,
    name_report,
    name_together,
)
from vtbench.reporting.failures import tell_failures
from vtbench.reporting.pages.published import (
    TITLE,
    PublishedRow,
    list_published_notes,
    list_recipes,
    tabulate_published,
)
from vtbench.reporting.report import Report
from vtbench.reporting.side_by_side import list_side_notes, tabulate_sides
from vtbench.reporting.tables import MOST_SEEDS_SHOWN, tabulate_seeds, tabulate_summary
from vtbench.reporting.token_report import shorten_name


def print_report(report: Report, console: Console) -> None:
    """Title, question, the tables of every comparison, the notes, and what was left out."""
    print_text(name_report(report), console, style="bold")
    if report.outline.question:
        print_text(report.outline.question, console)
    print_text(f"\n{' '.join(answer_report(report))}", console)
    if report.sides is not None:
        print_text("\nOld and new", console, style="bold")
        _print_table(tabulate_sides(report.sides), console)
        console.print()
        for note in list_side_notes(report.sides):
            print_text(f"- {note}", console)
    if report.sources is not None:
        print_text(f"\n{name_together(report)}", console, style="bold")
        _print_table(report.sources, console)
    for number, comparison in enumerate(report.comparisons, 1):
        if comparison.apart:
            print_text(f"\nKept apart: comparison {number}", console, style="bold yellow")
            print_text(explain_apart(comparison), console)
        _print_table(tabulate_summary(comparison), console)
        if (num_seeds := len(comparison.seeds)) > MOST_SEEDS_SHOWN:
            print_text(f"\nWhat each of the {num_seeds} seeds came to stands in the files of the report.", console)
        elif num_seeds > 1:
            _print_table(tabulate_seeds(comparison), console)
        for table in list_further_tables(report, comparison, SCREEN):
            _print_table(table, console)
    for table in list_tuning_tables(report):
        _print_table(table, console)
    console.print()
    for note in list_all_notes(report, SCREEN):
        print_text(f"- {note}", console)
    for failure in tell_failures(report):
        print_text(f"- {failure}", console, style="red")
    for left in report.left_out:
        print_text(f"- Left out: {left.path}: {left.reason}", console, style="yellow")


def print_published(rows: Sequence[PublishedRow], console: Console) -> None:
    """The table of the literature without its recipes, and the notes, which the files have in full."""
    print_text(TITLE, console, style="bold")
    _print_table(tabulate_published(rows).without("recipe"), console)
    console.print()
    for note in (*list_published_notes(rows), *list_recipes(rows)):
        print_text(f"- {note}", console)


def print_tokens(record: TokensRecord, console: Console) -> None:
    """A table of all modules in all images, and what its columns mean."""
    prepared = record.preparation
    height, width = prepared.image_size
    state = f"seed {record.seed}" if record.weights_sha256 else f"untrained, seed {record.seed}"
    print_text(f"{record.variant}, {state}", console)
    print_text(f"Images: {height}x{width}, {prepared.resizing}; {prepared.normalization}.", console)
    header = ("image", "module", "entropy", "reach", "uniform", "JSD", "peaks", "front")
    rows = [(shorten_name(image.name), *_list_cells(module)) for image in record.images for module in image.modules]
    table, modules = make_table(header, rows, numbers=header[1:]), record.images[0].modules
    is_foreign = bool(modules[0].layer)
    console.print(lay_out(table.without("reach") if is_foreign else table, gap=3))
    for note in _explain_heads(modules) if is_foreign else _explain_tokens(record):
        print_text(note, console)
    print_text("front: attention of a foreground pixel over that of a background pixel; – without a mask.", console)
    for index, reason in record.skipped.items():
        print_text(f"No maps of module {index}: {reason}", console)


def _explain_tokens(record: TokensRecord) -> Iterator[str]:
    yield "entropy, reach: mean of the tokens' maps, before and after mixing, in nats; uniform: the most there can be."
    yield (
        "JSD: mean Jensen-Shannon divergence of two tokens' maps, 0 (equal) to 1 bit (disjoint); peaks: different "
        "cells among the tokens' peaks."
    )
    reaches = [module.mean_reach_entropy_nats for image in record.images for module in image.modules]
    for reason in sorted({reach.reason for reach in reaches if isinstance(reach, NotMeasured)}):
        yield f"No reach: {reason}"


def _explain_heads(modules: Sequence[ModuleMapsRecord]) -> Iterator[str]:
    """Nothing is mixed afterwards, and heads stand for tokens."""
    looks, rows = (
        sorted({module.tokenizer for module in modules}),
        dict.fromkeys(", ".join(one.rows) for one in modules),
    )
    yield f"Shown: look of {' or '.join(looks)}; {' or '.join(rows)}. The shares of all places sum to 1."
    yield "entropy: mean of the maps, in nats; uniform: the most there can be."
    if any(len(one.rows) > 1 for one in modules):
        yield "JSD and peaks: how far heads differ."
    elif any(one.rows == ("mean of 1 head",) for one in modules):
        yield "JSD and peaks compare heads, and not every module has two."
    else:
        several = "" if all(one.rows[0].startswith("mean of ") for one in modules) else "of networks with more "
        yield f"JSD and peaks compare heads, and one map is shown: {several}--head 0 1 shows and compares two."


def _print_table(table: Table, console: Console) -> None:
    console.print()
    console.print(lay_out(table))


def _list_cells(module: ModuleMapsRecord) -> list[str]:
    front = module.foreground
    return [
        f"{module.module} {module.layer or module.tokenizer}",
        _format(module.mean_entropy_nats),
        _format(module.mean_reach_entropy_nats),
        _format(module.uniform_entropy_nats),
        _format(module.mean_jensen_shannon_bits, digits=3),
        f"{module.num_distinct_peaks}/{module.num_tokens}",
        _format(front.ratio) if isinstance(front, ForegroundRecord) else NOTHING,
    ]


def _format(value: float | NotMeasured, *, digits: int = 2) -> str:
    return NOTHING if isinstance(value, NotMeasured) else f"{value:.{digits}f}"
