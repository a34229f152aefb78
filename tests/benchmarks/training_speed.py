"""Training speed of vtbench beside a plain PyTorch loop and timm, on the same model, images and batch size.

    python tests/benchmarks/training_speed.py [--timm-script PATH/TO/train.py] [--threads 2] [--rounds 3]

Images lie as PNG files in class folders, which every contestant reads by its own means; a first epoch, in which caches
fill and memory is laid out, does not count. Each contestant is a process of its own, and they take turns, so that
whatever else the machine does meets all of them. The speed is that of an epoch of training, data included. The CPU
time of an image, of all processes together, is what two longer epochs add to a run of one: other work on the machine
does not change it, and where every core is busy it bounds the speed.

- *plain loop*: ImageFolder, torchvision transforms, DataLoader workers; no metrics, no checkpoints.
- *timm's parts*: create_dataset, create_loader, create_optimizer_v2, CosineLRScheduler, AverageMeter in the order of
  timm's training script.
- *timm train.py*: the script itself, from a checkout of timm; the wheel does not contain it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

LONG, SHORT = 3, 1
IMAGE_SIZE = 32


def write_images(folder: Path, num_train: int) -> None:
    """Scenes as PNG files: FOLDER/{train,val}/<class>/<number>.png."""
    import numpy as np
    from PIL import Image

    from vtbench.configuration import DataConfig
    from vtbench.datasets import load_dataset

    for split, limit in (("train", num_train), ("val", 100)):
        data = load_dataset(DataConfig(spec="scenes", limit_train=num_train, limit_val=100), split, seed=0)
        images = data.read(np.arange(limit))
        for index, (image, label) in enumerate(zip(images, data.labels, strict=True)):
            path = folder / split / f"class{label}" / f"{index:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def run_vtbench(options: argparse.Namespace, **execution: Any) -> float:
    import vtbench.models  # noqa: F401
    from vtbench.configuration import AugmentationConfig, DataConfig, ExecutionConfig, Recipe, RunConfig
    from vtbench.records import TimingRecord, load_lines
    from vtbench.training import train_run

    config = RunConfig(
        variant=options.model,
        data=DataConfig(spec=f"folder:{options.data}", image_size=IMAGE_SIZE),
        recipe=Recipe(name="speed", epochs=options.epochs, batch_size=options.batch, augmentation=AugmentationConfig()),
        execution=ExecutionConfig(device="cpu", threads=options.threads, **execution),
    )
    with tempfile.TemporaryDirectory() as folder:
        record = train_run(config, Path(folder))
        assert record.status == "finished", record.error
        timings = load_lines(Path(folder) / "timing.jsonl", TimingRecord)
    return best_of([timing.train_images_per_second for timing in timings])


def best_of(speeds: list[float]) -> float:
    """The speed of the fastest epoch but the first."""
    return max(speeds[1:] or speeds)


def time_epochs(run_epoch: Callable[[], int], epochs: int) -> float:
    speeds = []
    for _ in range(epochs):
        started = time.perf_counter()
        num_images = run_epoch()
        speeds.append(num_images / (time.perf_counter() - started))
    return best_of(speeds)


def run_plain(options: argparse.Namespace, *, channels_last: bool) -> float:
    import torch
    from torch.nn import functional
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from vtbench.models import create_model

    transform = transforms.Compose(
        [
            transforms.RandomCrop(IMAGE_SIZE, padding=4, padding_mode="reflect"),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.25,) * 3),
        ]
    )
    loader = DataLoader(
        ImageFolder(str(options.data / "train"), transform),
        batch_size=options.batch,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=True,
    )
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model: Any = create_model(options.model, num_classes=10, image_size=IMAGE_SIZE)
    model = model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=4e-5)

    def run_epoch() -> int:
        num_images = 0
        for images, labels in loader:
            loss = functional.cross_entropy(model(images.contiguous(memory_format=layout)), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            num_images += len(labels)
        return num_images

    return time_epochs(run_epoch, options.epochs)


def run_timm_parts(options: argparse.Namespace) -> float:
    import torch
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import CosineLRScheduler
    from timm.utils import AverageMeter

    from vtbench.models import create_model

    loader: Iterable[Any] = create_loader(
        create_dataset("", root=str(options.data), split="train", is_training=True, batch_size=options.batch),
        input_size=(3, IMAGE_SIZE, IMAGE_SIZE),
        batch_size=options.batch,
        is_training=True,
        color_jitter=0.0,
        num_workers=options.workers,
        device=torch.device("cpu"),
        use_prefetcher=True,
        persistent_workers=True,
    )
    model: Any = create_model(options.model, num_classes=10, image_size=IMAGE_SIZE)
    optimizer: Any = create_optimizer_v2(model, opt="sgd", lr=0.1, momentum=0.9, weight_decay=4e-5)
    schedule: Any = CosineLRScheduler(optimizer, t_initial=1000, t_in_epochs=False)
    loss_function: Any = LabelSmoothingCrossEntropy(0.1)
    meter: Any = AverageMeter()
    step = 0

    def run_epoch() -> int:
        nonlocal step
        num_images = 0
        for images, labels in loader:
            loss = loss_function(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            schedule.step_update(num_updates=step)
            meter.update(loss.item(), len(labels))
            num_images += len(labels)
        return num_images

    return time_epochs(run_epoch, options.epochs)


def run_timm_script(options: argparse.Namespace, *flags: str) -> float:
    """Run timm's script as it is, with our network entered in timm's registry; its log tells the speed of an epoch."""
    command = [sys.executable, __file__, "--inside-timm", options.model, str(options.timm_script)]
    arguments = ["--data-dir", options.data, "--model", "vtbench_network", "--num-classes", 10, "--device", "cpu"]
    arguments += ["--input-size", 3, IMAGE_SIZE, IMAGE_SIZE, "--batch-size", options.batch, "--opt", "sgd"]
    arguments += ["--lr", 0.1, "--weight-decay", 4e-5, "--epochs", options.epochs, "--cooldown-epochs", 0]
    arguments += ["--warmup-epochs", 0, "--color-jitter", 0.0, "--workers", options.workers, "--log-interval", 1]
    with tempfile.TemporaryDirectory() as output:
        everything = [*command, *map(str, arguments), *flags, "--output", output]
        done = subprocess.run(everything, capture_output=True, text=True, check=False, cwd=output)
    log = done.stdout + done.stderr
    speeds: dict[int, float] = {}
    for epoch, speed in re.findall(r"Train: (\d+) \[.*?\(\s*[\d.]+s,\s+([\d.]+)/s\)", log):
        speeds[int(epoch)] = float(speed)  # The last line of an epoch holds its mean.
    if not speeds:
        raise SystemExit(f"timm's script did not train:\n{log[-3000:]}")
    return best_of([speeds[epoch] for epoch in sorted(speeds)])


def stand_in_for_timm(variant: str, script: str, arguments: list[str]) -> None:
    import timm

    from vtbench.models import create_model

    def vtbench_network(pretrained: bool = False, **options: Any) -> Any:
        model: Any = create_model(variant, num_classes=options.get("num_classes", 10), image_size=IMAGE_SIZE)
        model.num_classes = 10
        return model

    vtbench_network.__module__ = "timm.models.vtbench"
    sys.modules["timm.models.vtbench"] = type(sys)("timm.models.vtbench")
    timm.models.register_model(vtbench_network)
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")


CONTESTANTS: dict[str, Callable[[argparse.Namespace], float]] = {
    "vtbench train": run_vtbench,
    "vtbench train, contiguous layout": lambda options: run_vtbench(options, channels_last=False),
    "vtbench train, bfloat16": lambda options: run_vtbench(options, precision="bfloat16"),
    "vtbench train, compiled": lambda options: run_vtbench(options, compile=True),
    "plain loop": lambda options: run_plain(options, channels_last=False),
    "plain loop, channels_last": lambda options: run_plain(options, channels_last=True),
    "timm's parts": run_timm_parts,
    "timm train.py": run_timm_script,
    "timm train.py --channels-last": lambda options: run_timm_script(options, "--channels-last"),
}


def main() -> None:
    if sys.argv[1:2] == ["--inside-timm"]:
        stand_in_for_timm(sys.argv[2], sys.argv[3], sys.argv[4:])
        return
    options = parse_options()
    if options.only:
        import torch

        torch.set_num_threads(options.threads)
        print(json.dumps(CONTESTANTS[options.only](options)))
        return
    names = [name for name in CONTESTANTS if options.timm_script or not name.startswith("timm train.py")]
    speeds: dict[str, list[float]] = {name: [] for name in names}
    costs: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), options.images)
        for _ in range(options.rounds):
            for name in names:
                _, short = run_in_process(name, Path(folder), SHORT, options)
                speed, long = run_in_process(name, Path(folder), LONG, options)
                speeds[name].append(speed)
                costs[name].append(1000 * (long - short) / (LONG - SHORT) / options.images)
    print_table(speeds, costs, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop and of timm; vtbench takes none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--timm-script", type=Path)
    parser.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--epochs", type=int, default=LONG, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_process(name: str, data: Path, epochs: int, options: argparse.Namespace) -> tuple[float, float]:
    """Images a second, and the CPU seconds of the process and all that it started."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", name, "--data", str(data), "--epochs", str(epochs)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return float(done.stdout.splitlines()[-1]), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_table(speeds: dict[str, list[float]], costs: dict[str, list[float]], options: argparse.Namespace) -> None:
    ours, our_cost = (statistics.median(table["vtbench train"]) for table in (speeds, costs))
    print(f"{options.model}, {options.images} images of {IMAGE_SIZE}x{IMAGE_SIZE}, batch {options.batch}, ", end="")
    print(f"{options.threads} threads, median of {options.rounds} rounds taken in turns, ", end="")
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm")) + "\n")
    print(f"{'':34}{'images/s':>9}{'of rounds':>11}{'vtbench is':>11}{'CPU ms/image':>14}{'of ours':>9}")
    for name, found in speeds.items():
        median, cost = statistics.median(found), statistics.median(costs[name])
        spread = f"{min(found):.0f}-{max(found):.0f}"
        print(f"{name:34}{median:9.0f}{spread:>11}{ours / median:9.2f} x{cost:14.2f}{cost / our_cost:7.2f} x")


if __name__ == "__main__":
    main()
