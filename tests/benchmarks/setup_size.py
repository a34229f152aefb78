"""Minutes, gigabytes and packages of the two set-ups, each in a fresh clone with a virtual environment of its own.

    python tests/benchmarks/setup_size.py [--targets install setup]

It downloads several gigabytes, or takes them from pip's cache where there is one, and needs as much room on the disk of
temporary files. It writes ``reports/setup/setup.json``, from which the README says it.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import tempfile
import time
from pathlib import Path

from vtbench.records import save_record
from vtbench.records.setup import SetUp, SetUps

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=["install", "setup"])
    parser.add_argument("--index", default="a mirror of PyPI", help="where the packages come from, in words")
    options = parser.parse_args()
    rows, torch = [], ""
    for target in options.targets:
        with tempfile.TemporaryDirectory() as temporary:
            clone = Path(temporary) / "vtbench"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            started = time.perf_counter()
            subprocess.run(["make", target], cwd=clone, check=True)
            seconds = time.perf_counter() - started
            pip = [str(clone / ".venv/bin/python"), "-m", "pip", "list", "--format", "freeze"]
            packages = subprocess.run(pip, check=True, capture_output=True, text=True).stdout.splitlines()
            torch = next(line.partition("==")[2] for line in packages if line.startswith("torch=="))
            rows.append(
                SetUp(
                    target=target,
                    seconds=round(seconds, 1),
                    num_packages=len(packages),
                    size_bytes=weigh(clone / ".venv"),
                )
            )
            print(rows[-1])
    found = SetUps(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        torch=torch,
        index=options.index,
        rows=tuple(rows),
    )
    (ROOT / "reports/setup").mkdir(exist_ok=True)
    save_record(ROOT / "reports/setup/setup.json", found)


def weigh(folder: Path) -> int:
    """Bytes on the disk, a file with several names once."""
    sizes = {
        (status.st_dev, status.st_ino): status.st_blocks * 512 for path in folder.rglob("*") if (status := path.lstat())
    }
    return sum(sizes.values())


if __name__ == "__main__":
    main()
