"""Images a second of one run over two processes, against two independent runs side by side.

    python tests/benchmarks/ranks_speed.py [--model resnet20] [--batch-size 128] [--pairs 3] [--sync-batch-norm]

Both have two processes of one thread each at work, so that their ratio says what it costs to train one network
together. They take turns, because other work on the machine meets all alike. The shared batch is twice as large: the
same images a step in each process. A first epoch, in which memory is laid out, does not count. Beside the speed stands
the CPU time of an image, of all processes, which other work changes little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

EPOCHS = 3


def train(options: argparse.Namespace, devices: int, folder: str) -> None:
    """One run; prints the speed of its epochs but the first, and the CPU seconds of its processes."""
    import vtbench.models  # noqa: F401
    from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
    from vtbench.records import TimingRecord, load_lines
    from vtbench.training import load_recipe, train_run

    recipe = load_recipe("small", epochs=EPOCHS, batch_size=options.batch_size * devices)
    config = RunConfig(
        variant=options.model,
        data=DataConfig(spec="scenes", limit_train=options.images * devices, limit_val=16),
        recipe=recipe.model_copy(update={"sync_batch_norm": options.sync_batch_norm}),
        execution=ExecutionConfig(device="cpu", devices=devices, threads=devices),
    )
    record = train_run(config, Path(folder))
    assert record.status == "finished", record.error
    timings = load_lines(Path(folder) / "timing.jsonl", TimingRecord)[1:]
    usage = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(one.ru_utime + one.ru_stime for one in usage)
    speed = statistics.median(timing.train_images_per_second for timing in timings)
    print(json.dumps({"images_per_second": speed, "cpu_seconds": seconds, "images": options.images * devices * EPOCHS}))


def start(devices: int, folder: Path) -> subprocess.Popen[str]:
    """This script, to do one run."""
    words = [sys.executable, __file__, *sys.argv[1:], "--devices", str(devices), "--folder", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)


def measure(runs: list[int], folder: Path) -> dict[str, float]:
    """Runs side by side, one for each number of devices in ``runs``: what they do in all."""
    processes = [start(devices, folder / str(n)) for n, devices in enumerate(runs)]
    found: list[dict[str, Any]] = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    seconds = sum(one["cpu_seconds"] for one in found) / sum(one["images"] for one in found)
    return {"speed": sum(one["images_per_second"] for one in found), "cpu_ms": 1000 * seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--images", type=int, default=1024, help="of an epoch of each process")
    parser.add_argument("--batch-size", type=int, default=128, help="of each process")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--sync-batch-norm", action="store_true")
    parser.add_argument("--devices", type=int)
    parser.add_argument("--folder")
    options = parser.parse_args()
    if options.folder is not None:
        train(options, options.devices, options.folder)
        return
    ratios = []
    for pair in range(options.pairs):
        with tempfile.TemporaryDirectory() as scratch:
            ways = {"together": [2], "side by side": [1, 1]}
            order = list(ways) if pair % 2 == 0 else list(ways)[::-1]
            found = {way: measure(ways[way], Path(scratch) / way.replace(" ", "_")) for way in order}
        ratios.append(found["together"]["speed"] / found["side by side"]["speed"])
        for way, one in found.items():
            print(f"{way:>12}: {one['speed']:7.1f} images/s, {one['cpu_ms']:6.2f} ms of CPU an image", flush=True)
        print(f"       ratio: {ratios[-1]:.2f}", flush=True)
    print(f"median ratio of {options.pairs}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
