"""How the time of a report grows with its arms, and that of a plan with its cells.

    python tests/benchmarks/study_growth.py             # report: 50 to 1,000 arms; plan: 100 to 10,000 cells
    python tests/benchmarks/study_growth.py --report 50 100 --plan

A report is built, drawn and written of made-up records of three seeds an arm. A plan is ``vtbench ablate --plan`` as a
user calls it, probe and start of the process included: of ten arms of many seeds, of arms of five seeds, and of as many
arms as cells. Its CPU seconds are those of all its processes; its seconds mean something on a quiet machine alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
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


STUDY = """
question = "How does a plan grow?"
base = "resnet20"
recipe = "small"
seeds = {seeds}
data = {{ spec = "scenes:num_train=2000,num_val=500", image_size = 32 }}
[factors]
width = {widths}
recipe.optimizer.learning_rate = {rates}
"""


def time_plan(num_arms: int, seeds: int) -> tuple[float, float]:
    """Seconds, and CPU seconds, of the plan of a study of ten widths and ``num_arms`` / 10 learning rates."""
    rates = [round(0.001 * (number + 1), 3) for number in range(num_arms // 10)]
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.toml"
        study.write_text(STUDY.format(seeds=seeds, widths=list(range(4, 14)), rates=rates))
        command = [sys.executable, "-m", "vtbench", "ablate", str(study), "--plan", "--device", "cpu"]
        begun, before = time.monotonic(), _sum_cpu_seconds()
        subprocess.run([*command, "--out", f"{folder}/out"], check=True, capture_output=True)
        return time.monotonic() - begun, _sum_cpu_seconds() - before


def _sum_cpu_seconds() -> float:
    """CPU seconds of all processes that this one has waited for."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    """Print one row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=int, nargs="*", default=[50, 100, 200, 500, 1000])
    parser.add_argument("--plan", type=int, nargs="*", default=[2000, 5000, 10_000], help="numbers of cells")
    arguments = parser.parse_args()
    for size in arguments.report:
        print(f"report of {size:>6,} arms: {time_report(size):6.2f} CPU seconds", flush=True)
    for size in arguments.plan:
        for num_arms in dict.fromkeys((10, size // 50 * 10, size)):
            seconds, cpu_seconds = time_plan(num_arms, size // num_arms)
            what = f"plan of {size:>6,} cells, {num_arms:>6,} arms"
            print(f"{what}: {seconds:6.2f} seconds, {cpu_seconds:6.2f} CPU seconds", flush=True)


if __name__ == "__main__":
    main()
