"""What the README says of the two set-ups: minutes, gigabytes, packages."""

from __future__ import annotations

from pathlib import Path

from vtbench.documents.table import make_table, to_markdown
from vtbench.records import load_record
from vtbench.records.setup import SetUps

_PURPOSES = {"install": "`make demo`: the package", "setup": "`make test`: with all extras and the checks"}


def render_setups(folder: Path) -> str:
    """A table of the set-ups that are recorded in ``folder``, as Markdown."""
    measured = load_record(folder / "setup.json", SetUps)
    header = ("set-up for", "packages", "disk (GB)", "minutes")
    rows = [
        (_PURPOSES[row.target], f"{row.num_packages}", f"{row.size_bytes / 1e9:.1f}", f"{row.seconds / 60:.1f}")
        for row in measured.rows
    ]
    return (
        f"{to_markdown(make_table(header, rows, numbers=header[1:])).rstrip()}\n\n"
        f"Measured by `python tests/benchmarks/setup_size.py` on {measured.platform}, Python {measured.python}, "
        f"torch {measured.torch}, packages from {measured.index}; most of the disk is torch with its CUDA libraries."
    )
