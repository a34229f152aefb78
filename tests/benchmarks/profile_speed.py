"""How long the profiler takes beside its peers, measured in one session: ``python -m tests.benchmarks.profile_speed``.

Whole process: a script from start to end, the interpreter and all imports included, in turns with ``import torch``
alone. In process: the count by itself, in a fresh process that has imported everything, model built and counted.
The peers count torchvision's ResNet-101; ours is shown for that and for ``vt_resnet101``. It prints; it never fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

PACKAGES = ("torch", "torchvision", "fvcore", "ptflops", "thop", "torchinfo", "calflops")
IMAGE = "torch.randn(1, 3, 224, 224)"
BUILD = "model = torchvision.models.resnet101().eval()"

WITHOUT_TRANSFORMERS = """
from importlib.util import find_spec
if find_spec("transformers") is None:  # calflops imports it for language models only.
    import sys, types
    from importlib.machinery import ModuleSpec
    stand_in = types.ModuleType("transformers")
    stand_in.__spec__, stand_in.AutoTokenizer = ModuleSpec("transformers", None), object
    sys.modules["transformers"] = stand_in
"""

PEERS = {
    "fvcore": ("from fvcore.nn import FlopCountAnalysis", f"FlopCountAnalysis(model, {IMAGE}).total()"),
    "ptflops": (
        "from ptflops import get_model_complexity_info",
        "get_model_complexity_info(model, (3, 224, 224), as_strings=False, print_per_layer_stat=False, verbose=False)",
    ),
    "thop": ("import thop", f"thop.profile(model, inputs=({IMAGE},), verbose=False)"),
    "torchinfo": ("import torchinfo", "torchinfo.summary(model, input_size=(1, 3, 224, 224), verbose=0)"),
    "calflops": (
        f"{WITHOUT_TRANSFORMERS}\nfrom calflops import calculate_flops",
        "calculate_flops(model, input_shape=(1, 3, 224, 224), print_results=False, print_detailed=False)",
    ),
    "torch FlopCounterMode": (
        "from torch.utils.flop_counter import FlopCounterMode",
        f"counter = FlopCounterMode(display=False)\nwith counter:\n    model({IMAGE})",
    ),
}
OURS = ("vt_resnet101", "torchvision:resnet101")
OUR_IMPORTS = """
import vtbench.models
from vtbench.profiling.profile import profile_source
from vtbench.profiling.sources import resolve_source
"""

METER = """
import os, sys, time, json
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
import torch
{warnings}
after_torch = resident()
{imports}
after_imports = resident()
start = time.perf_counter(), time.process_time()
{work}
print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1],
                  resident() - after_imports, resident() - after_torch]))
"""


def main() -> None:
    """Measure everything ``--rounds`` times, in turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the medians to this file")
    rounds, target = vars(parser.parse_args()).values()
    scripts = list_scripts()
    whole: dict[str, list[tuple[float, float, float] | str]] = {name: [] for name in scripts}
    inside: dict[str, list[list[float] | str]] = {name: [] for name in scripts}
    for _ in range(rounds):
        for name, (command, meter) in scripts.items():
            whole[name].append(time_process(command))
            if meter:
                inside[name].append(time_inside(meter))
    rows = summarize(whole, inside)
    print(render(rows))
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    if target is not None:
        target.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def list_scripts() -> dict[str, tuple[list[str], str]]:
    """Name -> the command of the whole process, and the program that times the count inside one ('' for none)."""
    quiet = "import warnings; warnings.simplefilter('ignore')"
    scripts = {"import torch": ([sys.executable, "-c", "import torch"], "")}
    for name in OURS:
        work = f"profile_source(resolve_source('{name}'))"
        imports = OUR_IMPORTS + ("\nimport torchvision" if name.startswith("torchvision") else "")
        command = [sys.executable, "-m", "vtbench.cli.main", "profile", name]
        scripts[f"vtbench profile {name}"] = (command, METER.format(imports=imports, work=work, warnings=quiet))
    for name, (imports, work) in PEERS.items():
        program = f"{quiet}\nimport torch, torchvision\n{imports}\n{BUILD}\n{work}"
        meter = METER.format(imports=f"import torchvision\n{imports}", work=f"{BUILD}\n{work}", warnings=quiet)
        scripts[name] = ([sys.executable, "-c", program], meter)
    return scripts


def time_process(command: list[str]) -> tuple[float, float, float] | str:
    """Wall seconds, CPU seconds and peak bytes of a process; the last line of its error if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    error = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - start
    if process.returncode:
        return (error.strip().splitlines() or ["failed"])[-1]
    return wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024.0


def time_inside(program: str) -> list[float] | str:
    """[wall seconds, CPU seconds, bytes more than after all imports, bytes more than after ``import torch``]."""
    call = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    if call.returncode:
        return (call.stderr.strip().splitlines() or ["failed"])[-1]
    parsed: list[float] = json.loads(call.stdout.strip().splitlines()[-1])
    return parsed


def summarize(
    whole: dict[str, list[tuple[float, float, float] | str]], inside: dict[str, list[list[float] | str]]
) -> list[dict[str, object]]:
    """Medians of each script; ``error`` where it cannot run."""
    base = [run for run in whole["import torch"] if not isinstance(run, str)]
    rows: list[dict[str, object]] = []
    for name, runs in whole.items():
        good = [run for run in runs if not isinstance(run, str)]
        if not good:
            rows.append({"script": name, "error": str(runs[0])})
            continue
        row: dict[str, object] = {
            "script": name,
            "wall_seconds": median(run[0] for run in good),
            "cpu_seconds": median(run[1] for run in good),
            "times_import_torch": median(run[0] for run in good) / median(run[0] for run in base),
            "cpu_times_import_torch": median(run[1] for run in good) / median(run[1] for run in base),
            "peak_bytes": median(run[2] for run in good),
        }
        measured = [run for run in inside[name] if not isinstance(run, str)]
        if measured:
            row["inside_wall_seconds"] = median(run[0] for run in measured)
            row["inside_cpu_seconds"] = median(run[1] for run in measured)
            row["inside_bytes"] = median(run[2] for run in measured)
            row["bytes_above_import_torch"] = median(run[3] for run in measured)
        rows.append(row)
    return rows


def render(rows: list[dict[str, object]]) -> str:
    """The table, as text."""
    header = ("script", "wall s", "CPU s", "x torch", "x CPU", "in process s", "CPU s", "+MiB", "+MiB on torch")
    lines = [header]
    for row in rows:
        if "error" in row:
            lines.append((str(row["script"]), f"cannot run: {row['error']}", *("",) * 7))
            continue
        keys = ("wall_seconds", "cpu_seconds", "times_import_torch", "cpu_times_import_torch")
        cells = [f"{row[key]:.2f}" for key in keys]
        for key in ("inside_wall_seconds", "inside_cpu_seconds"):
            cells.append(f"{row[key]:.2f}" if key in row else "")
        for key in ("inside_bytes", "bytes_above_import_torch"):
            cells.append(f"{float(str(row[key])) / 2**20:.0f}" if key in row else "")
        lines.append((str(row["script"]), *cells))
    plain = [line for line in lines if not line[1].startswith("cannot")]
    widths = [max(len(line[column]) for line in plain) for column in range(len(header))]
    widths[0] = max(len(line[0]) for line in lines)
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()
        for line in lines
    )


if __name__ == "__main__":
    main()
