"""Wall time, CPU time and peak memory of a study with ``--jobs auto`` beside the same cells one after the other.

    python tests/benchmarks/study_speed.py [STUDY] [--epochs 9] [--rounds 3] [--before CHECKOUT] [--auto-alone]
                                           [--more=OPTIONS]

All are ``vtbench ablate`` as a user calls it, each in an empty folder, in turns; the image cache is filled before.
``--before`` adds the study by the code of another commit, ``--more`` by this one with further options, and
``--auto-alone`` leaves the first way out, which takes longest. The time of ``auto`` holds the seconds in which it
measures the machine, so few epochs show it worse than many would. CPU time is that of all processes: other work on the
machine changes it less. The peak is that of all processes at one time, shared pages counted once.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parents[2]
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass
class Way:
    """One way to call the study, and what its rounds took."""

    label: str
    code: Path
    arguments: list[str]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peaks_mib: list[float] = field(default_factory=list)
    split: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="components")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, help="a checkout of another commit")
    parser.add_argument("--auto-alone", action="store_true", help="without the cells one after the other")
    parser.add_argument("--more", help="further options, in one word")
    options = parser.parse_args()
    ways = [] if options.auto_alone else [Way("one after the other", HERE, ["--jobs", "1"])]
    ways.append(Way("--jobs auto", HERE, ["--jobs", "auto"]))
    if options.before is not None:
        ways.append(Way("--jobs auto, before", options.before.resolve(), ["--jobs", "auto"]))
    if options.more is not None:
        ways.append(Way(f"auto {options.more}", HERE, ["--jobs", "auto", *shlex.split(options.more)]))
    with tempfile.TemporaryDirectory() as temporary:
        call([options.study, "--plan", "--out", str(Path(temporary) / "plan")], HERE)
        for number in range(options.rounds):
            for place, way in enumerate(ways):
                run(way, options, Path(temporary) / f"{number}-{place}")
    print(f"{options.study}, {options.epochs} epochs, one seed; medians of {options.rounds} rounds taken in turns\n")
    print(f"{'':34}{'wall s':>9}{'CPU s':>9}{'peak MiB':>10}")
    for way in ways:
        wall, cpu, peak = (statistics.median(found) for found in (way.seconds, way.cpu_seconds, way.peaks_mib))
        print(f"{way.label[:33]:34}{wall:9.1f}{cpu:9.1f}{peak:10.0f}   {way.split}")


def run(way: Way, options: argparse.Namespace, folder: Path) -> None:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    arguments = ["--epochs", str(options.epochs), "--seeds", "1", *way.arguments, "--out", str(folder)]
    way.peaks_mib.append(call([options.study, *arguments], way.code))
    way.seconds.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    way.cpu_seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    split = json.loads((folder / "split.json").read_text())
    way.split = f"{split['jobs']} at once, {split['threads']} threads each ({split['reason']})"
    print(f"{way.label}: {way.seconds[-1]:.1f} s, {way.cpu_seconds[-1]:.1f} CPU s", file=sys.stderr, flush=True)


def call(arguments: list[str], code: Path) -> float:
    """Peak memory in MiB of the command and all that it starts."""
    command = [sys.executable, "-m", "vtbench.cli.main", "ablate", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(code)}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=code)
        peaks, ended = [0.0], threading.Event()
        watching = threading.Thread(target=watch_memory, args=(process.pid, peaks, ended))
        watching.start()
        code_of_exit = process.wait()
        ended.set()
        watching.join()
        if code_of_exit:
            output.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{output.read()}")
    return max(peaks)


def watch_memory(pid: int, peaks: list[float], ended: threading.Event) -> None:
    while not ended.wait(_SECONDS_BETWEEN_LOOKS):
        peaks.append(sum(read_memory_kib(one) for one in list_family(pid)) / 1024)


def list_family(pid: int) -> Iterator[int]:
    """A process, and all that it started and they did."""
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [(task / "children").read_text() for task in tasks]
    except OSError:  # It has ended.
        return
    for child in " ".join(children).split():
        yield from list_family(int(child))


def read_memory_kib(pid: int) -> int:
    """The proportional set size: of a page that n processes share, each has its n-th part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # It has ended.
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
