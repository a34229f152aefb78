"""How the time of a report grows with its arms, and that of a plan with its cells.

    python tests/benchmarks/study_growth.py             # report: 50 to 1,000 arms; plan: 100 to 10,000 cells
    python tests/benchmarks/study_growth.py --report 50 100

A report is built, drawn and written of made-up records of three seeds an arm.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "reporting"))

from synthetic_runs import make_run, write_study

from vtbench.reporting.rendering import save_report
from vtbench.reporting.report import build_report


def time_report(num_arms: int) -> float:
    """CPU seconds from the records of ``num_arms`` arms x 3 seeds to the files of their report."""
    with tempfile.TemporaryDirectory() as folder:
        records = [
            make_run(
                f"width={number}",
                seed,
                60 + number % 97 / 10 + seed / 7,
                variant=f"resnet20:width={number + 1}",
                macs=10_000_000 + 71_003 * number,
            )
            for number in range(num_arms)
            for seed in range(3)
        ]
        write_study(Path(folder), records, seeds=None)
        begun = time.process_time()
        save_report(build_report(Path(folder)), Path(folder) / "report")
        return time.process_time() - begun


def main() -> None:
    """Print one row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=int, nargs="*", default=[50, 100, 200, 500, 1000])
    arguments = parser.parse_args()
    for size in arguments.report:
        print(f"report of {size:>6,} arms: {time_report(size):6.2f} CPU seconds", flush=True)


if __name__ == "__main__":
    main()
