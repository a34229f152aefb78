"""What ``vtbench tokens`` prints."""

from __future__ import annotations

from rich import box
from rich.table import Table

from vtbench.cli.console import open_console
from vtbench.records import NotMeasured
from vtbench.records.tokens import ForegroundRecord, ModuleMapsRecord, TokensRecord
from vtbench.reporting.token_report import shorten_name


def print_tokens(record: TokensRecord) -> None:
    """A table of all modules in all images, and what its columns mean."""
    console = open_console()
    prepared = record.preparation
    height, width = prepared.image_size
    state = f"seed {record.seed}" if record.weights_sha256 else f"untrained, seed {record.seed}"
    console.print(f"{record.variant}, {state}", markup=False)
    console.print(f"Images: {height}x{width}, {prepared.resizing}; {prepared.normalization}.", markup=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("image", overflow="fold")
    for name in ("module", "entropy", "reach", "uniform", "JSD", "peaks", "front"):
        table.add_column(name, justify="right")
    for image in record.images:
        for module in image.modules:
            table.add_row(shorten_name(image.name), *_list_cells(module))
    console.print(table)
    notes = [
        "entropy, reach: mean of the tokens' maps, before and after mixing, in nats; uniform: the most there can be.",
        "JSD: mean Jensen-Shannon divergence of two tokens' maps, 0 (equal) to 1 bit (disjoint); peaks: different "
        "cells among the tokens' peaks.",
        "front: attention of a foreground pixel over that of a background pixel; – without a mask.",
    ]
    for note in notes:
        console.print(note, markup=False)
    missing = {one.reason for image in record.images for m in image.modules if (one := _find_missing(m)) is not None}
    for reason in sorted(missing):
        console.print(f"No reach: {reason}", markup=False)
    for index, reason in record.skipped.items():
        console.print(f"No maps of module {index}: {reason}", markup=False)


def _find_missing(module: ModuleMapsRecord) -> NotMeasured | None:
    return module.mean_reach_entropy_nats if isinstance(module.mean_reach_entropy_nats, NotMeasured) else None


def _list_cells(module: ModuleMapsRecord) -> list[str]:
    front = module.foreground
    return [
        f"{module.module} {module.tokenizer}",
        _format(module.mean_entropy_nats),
        _format(module.mean_reach_entropy_nats),
        _format(module.uniform_entropy_nats),
        _format(module.mean_jensen_shannon_bits, digits=3),
        f"{module.num_distinct_peaks}/{module.num_tokens}",
        _format(front.ratio) if isinstance(front, ForegroundRecord) else "–",
    ]


def _format(value: float | NotMeasured, *, digits: int = 2) -> str:
    return "–" if isinstance(value, NotMeasured) else f"{value:.{digits}f}"
