"""Losses of the first steps of this checkout and of another, on the same images and weights: how far they are apart.

    python tests/benchmarks/first_losses.py --before CHECKOUT --data parquet:PATH [--steps 20] [--model NAME ...]

Each trains in a process of its own with one thread, by the recipe ``small`` with seed 0. The losses are those that the
steps go back from, taken where ``backward`` is called, so that no code of either checkout has to tell them. Data of
files, such as CIFAR-10 as parquet, are the same in both; embedded data may have changed between them.

Training magnifies rounding. How much shows a third run: the other checkout again, after its first step back with each
weight larger by one part in ten million, which is about one unit in the last place of a float32.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

MODELS = (
    "resnet18:stem=small,width=8",
    "vt_resnet18:stem=small,width=8,num_tokens=8,tokenizer=static,position=off",
    "vt_resnet18:stem=small,width=8,num_tokens=8,position=on",
)

_CHILD = """
import gc, json, os, sys
import torch

steps, nudge = int(sys.argv.pop(1)), float(sys.argv.pop(1))
losses, backward = [], torch.Tensor.backward

def note(loss, *arguments, **options):
    losses.append(float(loss.detach()))
    if len(losses) == 2 and nudge:
        for one in gc.get_objects():
            if isinstance(one, torch.nn.Parameter):
                one.data.mul_(1 + nudge)
    if len(losses) == steps:
        print(json.dumps(losses), flush=True)
        os._exit(0)
    return backward(loss, *arguments, **options)

torch.Tensor.backward = note
try:
    from vtbench.__main__ import main
except ModuleNotFoundError:  # As it was until 618f021.
    from vtbench.cli.main import run as main
main()
"""


def list_losses(checkout: Path, model: str, data: str, steps: int, *, nudge: float = 0.0) -> list[float]:
    """The losses of the first ``steps`` steps of a run by the code in ``checkout``, all weights moved by ``nudge``."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-c",
            _CHILD,
            str(steps),
            str(nudge),
            "train",
            model,
            "--data",
            data,
            "--recipe",
            "small",
        ]
        command += ["--seed", "0", "--threads", "1", "--device", "cpu", "--epochs", "2", "--limit-train", "2000"]
        command += ["--out", f"{folder}/run"]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    if not lines:
        sys.exit(f"{checkout} printed no losses of {model}:\n{done.stdout}\n{done.stderr}")
    return [float(loss) for loss in json.loads(lines[-1])]


def main() -> None:
    """Print a line a model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--before", required=True, type=Path, help="the other checkout")
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--model", nargs="+", default=MODELS)
    options = parser.parse_args()
    here = Path(__file__).resolve().parents[2]
    print(f"relative difference of losses, by steps done: {', '.join(map(str, range(options.steps)))}")
    for model in options.model:
        old, new, nudged = (
            list_losses(checkout, model, options.data, options.steps, nudge=nudge)
            for checkout, nudge in ((options.before.resolve(), 0.0), (here, 0.0), (options.before.resolve(), 1e-7))
        )
        print(model)
        for name, other in (("this checkout", new), ("weights moved by 1e-7", nudged)):
            apart = (abs(b - a) / abs(a) for a, b in zip(old, other, strict=True))
            print(f"  {name}: {' '.join(f'{one:.0e}' for one in apart)}", flush=True)


if __name__ == "__main__":
    main()
