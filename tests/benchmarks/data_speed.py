"""Images a second that reach training, a worker, beside torchvision's ImageFolder and torch's DataLoader.

    python tests/benchmarks/data_speed.py [--images 50000] [--workers 1] [--rounds 3]
    python tests/benchmarks/data_speed.py --tree 1281167 [--folder /tmp/tree]

Both read one folder of generated JPEGs, decode, scale and cut to the same size, crop and flip, and hand out normalised
batches in shuffled order. Nothing is held decoded: vtbench's cache is given no room. The same images are also read from
tar shards. What takes part takes turns, because other work on the machine meets all alike; medians are of the rounds.
Of an epoch the batches after the first are timed, since processes start until then. Opening is timed apart: with an
empty cache, and again. With ``--workers 0`` all is done in this process, and its CPU time an image stands beside, which
other work changes little; vtbench then decodes on all cores.

With ``--tree`` only opening is timed, in seconds of CPU, of as many files in 1,000 class folders, each a link to one of
a few PNG files of noise: names, sizes and times are those of so many files, and their bytes together more than are
hashed whole. Once nothing is known of them, then in a new process by what was remembered, then again in that process.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

CLASSES = 100
TREE_CLASSES = 1000
MOST_LINKS = 60_000


def generate(root: Path, num_images: int, side: int) -> None:
    """Class folders of smooth noise: ``num_images`` to train on and a tenth of that to validate, and tar shards."""
    generator = np.random.default_rng(0)
    for split, count in (("train", num_images), ("val", max(2 * CLASSES, num_images // 10))):
        shards = max(1, count // 5000)
        (root / "shards").mkdir(parents=True, exist_ok=True)
        tars = [tarfile.open(root / "shards" / f"{split}-{number:03d}.tar", "w") for number in range(shards)]  # noqa: SIM115
        for label in range(CLASSES):
            (root / "folder" / split / f"{label:03d}").mkdir(parents=True)
        for number in range(count):
            small = Image.fromarray(generator.integers(0, 256, (12, 16, 3), np.uint8))
            height, width = side, side * 4 // 3
            stream = io.BytesIO()
            small.resize((width, height), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
            label, name = number % CLASSES, f"{number:06d}"
            (root / "folder" / split / f"{label:03d}" / f"{name}.jpg").write_bytes(stream.getvalue())
            for ending, data in (("jpg", stream.getvalue()), ("cls", str(label).encode())):
                entry = tarfile.TarInfo(f"{name}.{ending}")
                entry.size = len(data)
                tars[number % shards].addfile(entry, io.BytesIO(data))
        for tar in tars:
            tar.close()


def open_vtbench(spec: str, options: argparse.Namespace) -> tuple[Iterator[Any], Callable[[], None]]:
    """An epoch of batches, and what ends it."""
    from vtbench.configuration import AugmentationConfig, DataConfig
    from vtbench.datasets import load_dataset
    from vtbench.datasets.batches import TrainBatches

    data = load_dataset(DataConfig(spec=spec, image_size=options.size), "train", seed=0)
    batches = TrainBatches(
        data,
        batch_size=options.batch_size,
        seed=0,
        augmentation=AugmentationConfig(crop_padding=4, flip=True),
        workers=options.workers,
    )
    return batches.epoch(0), batches.close


def open_torchvision(folder: Path, options: argparse.Namespace) -> tuple[Iterator[Any], Callable[[], None]]:
    """The same by torchvision's own reader and transforms."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    steps = [
        transforms.Resize(options.size),
        transforms.CenterCrop(options.size),
        transforms.RandomCrop(options.size, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    ]
    loader = DataLoader(
        ImageFolder(str(folder / "train"), transforms.Compose(steps)),
        batch_size=options.batch_size,
        shuffle=True,
        num_workers=options.workers,
        multiprocessing_context="spawn" if options.workers else None,
    )
    return iter(loader), lambda: None


def time_epoch(batches: Iterator[Any]) -> tuple[float, float]:
    """Images a second of all batches but the first, and milliseconds of this process's CPU an image."""
    next(batches)
    begun, cpu_begun, num_images = time.perf_counter(), time.process_time(), 0
    for images, _ in batches:
        num_images += len(images)
    return num_images / (time.perf_counter() - begun), 1000 * (time.process_time() - cpu_begun) / num_images


def time_opening(spec: str, options: argparse.Namespace) -> list[float]:
    """Seconds to open the data with an empty cache, and again."""
    from vtbench.configuration import DataConfig
    from vtbench.datasets.loading import identify_data

    seconds = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["VTBENCH_CACHE"] = cache
        for _ in range(2):
            begun = time.perf_counter()
            identify_data(DataConfig(spec=spec, image_size=options.size), [0])
            seconds.append(time.perf_counter() - begun)
    return seconds


def generate_tree(root: Path, num_images: int) -> None:
    """Class folders of links: ``num_images`` to train on and a 26th of that to validate, as ImageNet has them."""
    generator = np.random.default_rng(0)
    for split, count in (("train", num_images), ("val", max(TREE_CLASSES, num_images // 26))):
        for label in range(TREE_CLASSES):
            (root / split / f"n{label:08d}").mkdir(parents=True)
        for number in range(count):
            path = root / split / f"n{number % TREE_CLASSES:08d}" / f"n{number % TREE_CLASSES:08d}_{number:07d}.PNG"
            if number % MOST_LINKS == 0:
                first = path
                Image.fromarray(generator.integers(0, 256, (48, 48, 3), np.uint8)).save(path)
                os.utime(path, (10**9, 10**9))
            else:
                os.link(first, path)


def time_tree(folder: Path, num_openings: int) -> None:
    """Print the CPU and wall seconds of each opening in this process, and the most memory that it had."""
    from vtbench.configuration import DataConfig
    from vtbench.datasets import load_datasets

    config = DataConfig(spec=f"folder:{folder}", image_size=32, limit_train=1000, limit_val=1000)
    for _ in range(num_openings):
        begun, cpu_begun = time.perf_counter(), time.process_time()
        load_datasets(config, seed=0)
        seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{cpu:8.2f} s of CPU, {seconds:8.2f} s, {most:6.0f} MB at most", flush=True)


def measure_tree(options: argparse.Namespace) -> None:
    """Build the tree unless it is there, and open it in new processes with one cache."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.folder or scratch) / "tree"
        if not folder.exists():
            begun = time.process_time()
            generate_tree(folder, options.tree)
            print(f"built in {time.process_time() - begun:.1f} s of CPU: {options.tree:,} training images", flush=True)
        os.environ |= {"VTBENCH_CACHE": str(Path(scratch) / "cache"), "VTBENCH_CACHE_LIMIT_MB": "0"}
        for name, num_openings in (("nothing known", 1), ("by what was remembered, twice", 2)):
            print(name, flush=True)
            words = [sys.executable, __file__, "--openings", str(num_openings), "--folder", str(folder)]
            subprocess.run(words, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=256, help="the shorter side of an image in its file")
    parser.add_argument("--size", type=int, default=64, help="what images are scaled and cut to")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tree", type=int, help="time only the opening of so many files in class folders")
    parser.add_argument("--folder", help="where that tree is, or is to stay; else it is built and removed")
    parser.add_argument("--openings", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.openings is not None:
        time_tree(Path(options.folder), options.openings)
        return
    if options.tree is not None:
        measure_tree(options)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        generate(root, options.images, options.side)
        specs = {"vtbench, folder": f"folder:{root / 'folder'}", "vtbench, webdataset": f"webdataset:{root / 'shards'}"}
        for name, spec in specs.items():
            cold, warm = time_opening(spec, options)
            print(f"{name:22} opened in {cold:.2f} s with an empty cache, then in {warm:.2f} s", flush=True)
        os.environ |= {"VTBENCH_CACHE": str(root / "cache"), "VTBENCH_CACHE_LIMIT_MB": "0"}
        ways: dict[str, Callable[[], tuple[Iterator[Any], Callable[[], None]]]] = {
            "torchvision": lambda: open_torchvision(root / "folder", options),
            **{name: (lambda spec=spec: open_vtbench(spec, options)) for name, spec in specs.items()},
        }
        speeds: dict[str, list[float]] = {name: [] for name in ways}
        cpu_ms: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(options.rounds):
            for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
                batches, close = ways[name]()
                speed, cpu = time_epoch(batches)
                close()
                speeds[name].append(speed / max(1, options.workers))
                cpu_ms[name].append(cpu)
        print(f"\nimages/s a worker: {options.images:,} images, {options.workers} workers, medians of {options.rounds}")
        base, cpu_base = (statistics.median(found["torchvision"]) for found in (speeds, cpu_ms))
        for name, found in speeds.items():
            median, cpu = statistics.median(found), statistics.median(cpu_ms[name])
            line = f"{name:22}{median:8.0f}   {median / base:.2f}x   ({min(found):.0f} to {max(found):.0f})"
            print(line + (f"   {cpu:.2f} ms of CPU an image, {cpu / cpu_base:.2f}x" if options.workers == 0 else ""))


if __name__ == "__main__":
    main()
