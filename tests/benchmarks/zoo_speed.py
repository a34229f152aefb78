"""How fast and how large counting many models is beside fvcore: ``python -m tests.benchmarks.zoo_speed --models 200``.

Each counter takes the same models of timm in a process of its own: ours without values, as the verb counts many;
fvcore on models with values, as it is documented. ``--before CHECKOUT`` adds our own counter of another commit. It
prints CPU seconds a model, imports left out, and the peak memory of each process; models that a counter fails on are
named. It never fails.
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
start, failed = time.process_time(), []
for name in json.loads(sys.argv[1]):
    try:
        count(name)
    except Exception as error:
        failed.append(name)
seconds = time.process_time() - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, failed]))
"""


def main() -> None:
    """Measure each counter in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=200, help="models of timm, evenly over its list")
    parser.add_argument("--most-params", type=int, default=100, help="leave out models of more million parameters")
    parser.add_argument("--before", type=Path, help="a checkout of another commit")
    options = parser.parse_args()
    names = choose_names(options.models, options.most_params)
    counters = [("vtbench", OURS, HERE), ("fvcore", FVCORE, HERE)]
    if options.before is not None:
        counters.insert(1, (f"vtbench of {options.before}", BEFORE, options.before))
    base: float | None = None
    for label, counter, folder in counters:
        seconds, peak, failed = measure(counter, folder, names)
        each = seconds / len(names)
        base = base or each
        print(f"{label:<40} {each:7.3f} s of CPU a model  {each / base:5.1f} x  {peak / 2**20:6.0f} MiB", flush=True)
        if failed:
            print(f"  fails on {len(failed)}: {', '.join(failed)}")


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


def measure(counter: str, folder: Path, names: list[str]) -> tuple[float, int, list[str]]:
    """CPU seconds of all counts, peak bytes of the process, and the models on which the counter fails."""
    program = METER.format(counter=counter)
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    call = subprocess.run(
        [sys.executable, "-c", program, json.dumps(names)], env=environment, capture_output=True, text=True, check=True
    )
    seconds, peak, failed = json.loads(call.stdout.strip().splitlines()[-1])
    return float(seconds), int(peak), list(failed)


if __name__ == "__main__":
    main()
