"""How fast and how large counting many models is beside fvcore: ``python -m tests.benchmarks.zoo_speed --models 200``.

Each counter takes the same models of timm in a process of its own, in turn, model by model, so that whatever else runs
slows all of them alike: ours without values, as the verb counts many; fvcore on models with values, as it is
documented. ``--before CHECKOUT`` adds our own counter of another commit. It prints CPU seconds a model, imports left
out, and the peak memory of each process; models that a counter fails on are named. It never fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]

OURS = """
import vtbench.models
from vtbench.profiling.zoo import ZooRequest, count_row
def count(name):
    row = count_row(f"timm:{name}", ZooRequest())
    if row.refused is not None:
        raise ValueError(row.refused)
"""
BEFORE = """
from vtbench.profiling.profile import profile_source
from vtbench.profiling.sources import resolve_source
def count(name):
    profile_source(resolve_source(f"timm:{name}"))
"""
FVCORE = """
from fvcore.nn import FlopCountAnalysis
def count(name):
    model = timm.create_model(name).eval()
    settings = timm.get_pretrained_cfg(name)
    analysis = FlopCountAnalysis(model, torch.randn(1, *settings.input_size))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    analysis.total()
"""
METER = """
import gc, json, logging, resource, sys, time, warnings
warnings.simplefilter("ignore")
import timm, torch
logging.disable(logging.CRITICAL)
torch.set_num_threads(1)
{counter}
count("resnet18")
gc.freeze()  # As the command does once for good: what was imported is not looked through again.
for line in sys.stdin:
    start, failed = time.process_time(), False
    try:
        count(line.strip())
    except Exception:
        failed = True
    seconds = time.process_time() - start
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, failed]), flush=True)
"""


class Counter:
    """A process that counts a model when it is told its name."""

    def __init__(self, label: str, program: str, folder: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        call = [sys.executable, "-c", METER.format(counter=program)]
        self.label, self.seconds, self.peak, self.failed = label, 0.0, 0, list[str]()
        self._process = subprocess.Popen(
            call,
            cwd=folder,  # Python looks for modules there first.
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def count(self, name: str) -> None:
        """Add the CPU seconds of one model; keep the peak bytes of the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(name, file=self._process.stdin, flush=True)
        seconds, self.peak, failed = json.loads(self._process.stdout.readline())
        self.seconds += seconds
        self.failed += [name] * failed


def main() -> None:
    """Let the counters take every model in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=200, help="models of timm, evenly over its list")
    parser.add_argument("--most-params", type=int, default=100, help="leave out models of more million parameters")
    parser.add_argument("--before", type=Path, help="a checkout of another commit")
    options = parser.parse_args()
    names = choose_names(options.models, options.most_params)
    counters = [Counter("vtbench", OURS, HERE)]
    if options.before is not None:
        counters.append(Counter(f"vtbench of {options.before}", BEFORE, options.before))
    counters.append(Counter("fvcore", FVCORE, HERE))
    for name in names:
        for counter in counters:
            counter.count(name)
    for counter in counters:
        each, times, peak = counter.seconds / len(names), counter.seconds / counters[0].seconds, counter.peak / 2**20
        print(f"{counter.label:<40} {each:7.3f} s of CPU a model  {times:5.2f} x  {peak:6.0f} MiB")
        if counter.failed:
            print(f"  fails on {len(counter.failed)}: {', '.join(counter.failed)}")


def choose_names(number: int, most_params: int) -> list[str]:
    """Names evenly over timm's list, without models too large to be built with values in turn."""
    import timm
    import torch

    every = timm.list_models()
    chosen: list[str] = []
    for name in every[:: max(len(every) // (2 * number), 1)]:
        with torch.device("meta"):
            try:
                params = sum(parameter.numel() for parameter in timm.create_model(name).parameters())
            except (RuntimeError, NotImplementedError):
                continue
        if params <= most_params * 10**6:
            chosen.append(name)
    step = max(len(chosen) / number, 1.0)
    return [chosen[int(place * step)] for place in range(min(number, len(chosen)))]


if __name__ == "__main__":
    main()
