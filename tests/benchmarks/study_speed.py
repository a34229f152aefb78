"""Wall time of a study with ``--jobs auto`` beside the same cells one after the other.

    python tests/benchmarks/study_speed.py [STUDY] [--epochs 9] [--rounds 1]

Both are ``vtbench ablate`` as a user calls it, each in an empty folder, in turns; the image cache is filled before.
The time of ``auto`` holds the seconds in which it measures the machine, so few epochs show it worse than many would.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {"one after the other": "1", "--jobs auto": "auto"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="components")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    splits: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        call([options.study, "--plan", "--out", str(Path(temporary) / "plan")])
        for number in range(options.rounds):
            for way, jobs in WAYS.items():
                folder = Path(temporary) / f"{number}-{jobs}"
                started = time.perf_counter()
                arguments = ["--epochs", str(options.epochs), "--seeds", "1", "--jobs", jobs, "--out", str(folder)]
                call([options.study, *arguments])
                seconds[way].append(time.perf_counter() - started)
                split = json.loads((folder / "split.json").read_text())
                splits[way] = f"{split['jobs']} at once, {split['threads']} threads each ({split['reason']})"
    print(f"{options.study}, {options.epochs} epochs, one seed; median of {options.rounds} rounds taken in turns\n")
    base = statistics.median(seconds["one after the other"])
    for way, found in seconds.items():
        median = statistics.median(found)
        print(f"{way:22}{median:8.1f} s   {base / median:5.2f} x   {splits[way]}")


def call(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "vtbench.cli.main", "ablate", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
