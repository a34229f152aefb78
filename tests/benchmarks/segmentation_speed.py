"""Training speed of segmentation beside a loop written as torchvision's reference is, on the same network and images.

    python tests/benchmarks/segmentation_speed.py [--data PATH] [--size 96] [--model fpn_resnet18:width=8] [--rounds 3]
        [--before CHECKOUT] [--among NAME ...]

PATH is a folder of parquet files with columns of images and masks, which are written as files for all contestants;
without it scenes are. Every contestant scales an image by 0.5 to 2, mirrors it, cuts out the same square, and trains
the same network by SGD at a rate that falls polynomially by iteration, in float32. Each is a process of its own, and
they take turns, so that whatever else the machine does meets all of them; ratios are medians over rounds.

- Images a second are those of the fastest epoch but the first, data included, evaluation and saving left out. CPU time
  is that of the cheapest one, of all processes together: other work on the machine changes it little, and where every
  core is busy it bounds the speed.
- Memory is the most that a contestant's process had resident so far, as Linux notes it without gaps (VmHWM), and what
  its workers have beside, pages that they share with it left out, while they start, train and evaluate after every
  epoch, and in vtbench's case save. The reference evaluates as torchvision's does, image by image at the size of
  training, and counts either by torchmetrics or, as torchvision's and vtbench do, by a matrix of its own: the
  difference is what that library takes.
- A checkout of another commit trains by its own code. All contestants take part, or those that ``--among`` names.
- What limits the speed: the step alone, on one batch that stays as it is, with nothing counted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from vtbench.environment import describe_environment

VOID = 255
SCALE = (0.5, 2.0)
RATE, MOMENTUM, DECAY, POWER = 0.05, 0.9, 1e-4, 0.9
NUM_VAL = 10


def write_parquet_pairs(source: Path, folder: Path, limit: int) -> None:
    """Images and masks of a parquet data set as files; what lies outside its classes becomes void."""
    import numpy as np
    import pyarrow.parquet
    from PIL import Image

    for split, wanted in (("train", limit), ("val", NUM_VAL)):
        table = pyarrow.parquet.read_table(sorted(source.glob(f"{split}-*.parquet"))).slice(0, wanted)
        for number, row in enumerate(table.to_pylist()):
            image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")
            mask = np.array(Image.open(io.BytesIO(row["annotation"]["bytes"])))
            write_pair(folder, split, number, image, Image.fromarray(np.where(mask < 11, mask, VOID).astype(np.uint8)))


def write_scenes(folder: Path, side: int, limit: int) -> None:
    """Scenes, with sides three times those of the crop, as photographs are larger than what is trained on."""
    import numpy as np
    from PIL import Image

    from vtbench.configuration import DataConfig
    from vtbench.datasets import load_dataset

    for split, wanted in (("train", limit), ("val", NUM_VAL)):
        config = DataConfig(spec="scenes", image_size=3 * side, limit_train=limit, limit_val=NUM_VAL)
        data = load_dataset(config, split, seed=0)
        rows = np.arange(wanted)
        for number, (image, mask) in enumerate(zip(data.read(rows), data.read_masks(rows), strict=True)):
            write_pair(folder, split, number, Image.fromarray(image), Image.fromarray(mask))


def write_pair(folder: Path, split: str, number: int, image: Any, mask: Any) -> None:
    for kind, picture in (("images", image), ("masks", mask)):
        path = folder / kind / split / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


Epochs = list[tuple[float, float]]
"""Of each epoch the images a second, and the CPU milliseconds of an image."""


def read_cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def run_vtbench(options: argparse.Namespace, **execution: Any) -> Epochs:
    import vtbench.models  # noqa: F401
    from vtbench.configuration import (
        AugmentationConfig,
        DataConfig,
        ExecutionConfig,
        OptimizerConfig,
        Recipe,
        RunConfig,
        ScheduleConfig,
    )
    from vtbench.training import train_run
    from vtbench.training.progress import ProgressListener

    found: Epochs = []

    class Clock(ProgressListener):
        began = trained = 0.0

        def on_start(self, start: Any) -> None:
            self.began = read_cpu_seconds()

        def on_batch(self, progress: Any) -> None:
            self.trained = read_cpu_seconds()  # The last report of an epoch comes after its last step.

        def on_epoch(self, epoch: Any, timing: Any) -> None:
            cost = 1000 * (self.trained - self.began) / options.images
            found.append((timing.train_images_per_second, cost))
            self.began = read_cpu_seconds()

    recipe = Recipe(
        name="speed",
        epochs=options.epochs,
        batch_size=options.batch,
        augmentation=AugmentationConfig(crop_padding=0, scale=SCALE, crop=options.size),
        optimizer=OptimizerConfig(learning_rate=RATE, momentum=MOMENTUM, weight_decay=DECAY),
        schedule=ScheduleConfig(name="polynomial", power=POWER),
    )
    config = RunConfig(
        variant=options.model,
        data=DataConfig(spec=f"folder:{options.files},num_classes={options.classes}", image_size=options.size),
        recipe=recipe,
        execution=ExecutionConfig(device="cpu", threads=options.threads, **execution),
    )
    with tempfile.TemporaryDirectory() as folder:
        record = train_run(config, Path(folder), listener=Clock())
    assert record.status == "finished", record.error
    return found


def time_epochs(run_epoch: Callable[[], int], epochs: int, after: Callable[[], None] = lambda: None) -> Epochs:
    found = []
    for _ in range(epochs):
        began, started = read_cpu_seconds(), time.perf_counter()
        num_images = run_epoch()
        seconds = time.perf_counter() - started
        found.append((num_images / seconds, 1000 * (read_cpu_seconds() - began) / num_images))
        after()
    return found


class Pairs:
    """Files of images and masks, opened and changed one at a time, as a torch data set; scaled alone to evaluate."""

    def __init__(self, folder: Path, split: str, size: int) -> None:
        self.images = sorted((folder / "images" / split).iterdir())
        self.masks = sorted((folder / "masks" / split).iterdir())
        self.size, self.changes = size, split == "train"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        import torch
        from PIL import Image
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms import functional as F

        image = Image.open(self.images[index]).convert("RGB")
        mask = Image.open(self.masks[index])
        side = random.randint(int(SCALE[0] * self.size), int(SCALE[1] * self.size)) if self.changes else self.size
        image, mask = F.resize(image, side, antialias=True), F.resize(mask, side, InterpolationMode.NEAREST)
        if self.changes:
            if random.random() < 0.5:
                image, mask = F.hflip(image), F.hflip(mask)
            missing = [max(0, self.size - one) for one in image.size]
            image, mask = F.pad(image, [0, 0, *missing]), F.pad(mask, [0, 0, *missing], fill=VOID)
            left, top = (random.randint(0, one - self.size) for one in image.size)
            image, mask = (F.crop(one, top, left, self.size, self.size) for one in (image, mask))
        pixels = F.convert_image_dtype(F.pil_to_tensor(image), torch.float32)
        return F.normalize(pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), F.pil_to_tensor(mask)[0].long()


def build_model(options: argparse.Namespace, layout: Any) -> Any:
    from vtbench.models import create_model

    model: Any = create_model(options.model, num_classes=options.classes, image_size=options.size)
    return model.to(memory_format=layout).train()


def run_reference(options: argparse.Namespace, *, channels_last: bool = False, own_matrix: bool = False) -> Epochs:
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader

    data: dict[str, Any] = {split: Pairs(options.files, split, options.size) for split in ("train", "val")}
    layout = torch.channels_last if channels_last else torch.contiguous_format
    loader: Any = DataLoader(
        data["train"], batch_size=options.batch, shuffle=True, num_workers=options.workers, drop_last=True
    )
    val_loader: Any = DataLoader(data["val"], batch_size=1, num_workers=options.workers)
    count = count_in_place(options.classes) if own_matrix else count_by_library(options.classes)
    model = build_model(options, layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, len(loader) * options.epochs, POWER)
    losses = []

    def run_epoch() -> int:
        num_images = 0
        for images, masks in loader:
            loss = cross_entropy(model(images.contiguous(memory_format=layout)), masks, ignore_index=VOID)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            num_images += len(images)
        return num_images

    def evaluate() -> None:
        model.eval()
        confusion = torch.zeros(options.classes, options.classes, dtype=torch.int64)
        with torch.inference_mode():
            for images, masks in val_loader:
                confusion += count(model(images.contiguous(memory_format=layout)), masks)
        model.train()

    return time_epochs(run_epoch, options.epochs, evaluate)


def count_by_library(num_classes: int) -> Callable[[Any, Any], Any]:
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    return partial(multiclass_confusion_matrix, num_classes=num_classes, ignore_index=VOID)


def count_in_place(num_classes: int) -> Callable[[Any, Any], Any]:
    import torch

    def count(scores: Any, masks: Any) -> Any:
        seen = masks < num_classes
        cells = masks[seen] * num_classes + scores.argmax(1)[seen]
        return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)

    return count


def run_step_alone(options: argparse.Namespace, *, channels_last: bool) -> Epochs:
    """Forward, loss, backward and update on one batch."""
    import torch
    from torch.nn.functional import cross_entropy

    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = build_model(options, layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    images = torch.rand(options.batch, 3, options.size, options.size).contiguous(memory_format=layout)
    masks = torch.randint(options.classes, (options.batch, options.size, options.size))

    def run_epoch() -> int:
        for _ in range(steps):
            loss = cross_entropy(model(images), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return steps * options.batch

    steps = max(1, options.images // options.batch)
    return time_epochs(run_epoch, options.epochs)


CONTESTANTS: dict[str, Callable[[argparse.Namespace], Epochs]] = {
    "vtbench train": run_vtbench,
    "vtbench train, contiguous": lambda options: run_vtbench(options, channels_last=False),
    "torchvision's reference": run_reference,
    "reference, channels_last": lambda options: run_reference(options, channels_last=True),
    "reference, own matrix": lambda options: run_reference(options, own_matrix=True),
    "step alone": lambda options: run_step_alone(options, channels_last=False),
    "step alone, channels_last": lambda options: run_step_alone(options, channels_last=True),
}
OURS, BEFORE = "vtbench train", "vtbench train, before"


def main() -> None:
    options = parse_options()
    if options.only:
        import torch

        torch.set_num_threads(options.threads)
        print(json.dumps(CONTESTANTS[options.only](options)), flush=True)
        os._exit(0)  # To take torch down in good order touches a hundred MiB of its files, which no run has to.
    names = [OURS, *[BEFORE] * (options.before is not None), *(name for name in options.among if name != OURS)]
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            write_scenes(Path(folder), options.size, options.images)
        else:
            write_parquet_pairs(options.data, Path(folder), options.images)
        for _ in range(options.rounds):
            for name, results in found.items():
                results.append(run_in_process(name, Path(folder), options))
    print_table(found, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of parquet files with columns image and annotation")
    parser.add_argument("--model", default="fpn_resnet18:width=8")
    parser.add_argument("--size", type=int, default=96, help="shorter side of an image at scale 1, and the crop")
    parser.add_argument("--images", type=int, default=360)
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="of the reference")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--before", type=Path, help="a checkout of another commit")
    parser.add_argument("--among", nargs="*", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--only", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_process(name: str, files: Path, options: argparse.Namespace) -> tuple[float, float, float]:
    """Images a second, CPU milliseconds an image, and the MiB of the process and all that it started."""
    command = [
        sys.executable,
        __file__,
        *sys.argv[1:],
        "--only",
        OURS if name == BEFORE else name,
        "--files",
        str(files),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    if name == BEFORE:
        environment["PYTHONPATH"] = str(options.before.resolve())
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        peak, looks = 0, Counter[int]()
        while process.poll() is None:
            looks.update(list_family(process.pid)[1:])
            workers = [child for child, seen in looks.items() if seen > 10]  # Others are about to run another program.
            beside = sum(sum_memory(one, "smaps_rollup", "Private_Clean:", "Private_Dirty:") for one in workers)
            peak = max(peak, sum_memory(process.pid, "status", "VmHWM:") + beside)
            time.sleep(0.1)
        output.seek(0)
        printed = output.read()
    if process.returncode:
        raise SystemExit(f"{name} failed:\n{printed}")
    epochs = json.loads(printed.splitlines()[-1])
    speeds, costs = zip(*(epochs[1:] or epochs), strict=True)
    return max(speeds), min(costs), peak / 1024


def list_family(process: int) -> list[int]:
    """The process and all that descend from it, as far as they are still there."""
    try:
        children = [int(one) for path in Path(f"/proc/{process}/task").glob("*/children") for one in read_words(path)]
    except OSError:
        children = []
    return [process, *(member for child in children for member in list_family(child))]


def read_words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def sum_memory(process: int, file: str, *names: str) -> int:
    """KiB by these names in a file that Linux keeps of a process; 0 once it is gone."""
    words = read_words(Path(f"/proc/{process}/{file}"))
    return sum(int(words[words.index(name) + 1]) for name in names if name in words)


def print_table(found: dict[str, list[tuple[float, float, float]]], options: argparse.Namespace) -> None:
    import torch

    print(describe_environment(torch.device("cpu")))
    print(f"{options.model}, {options.images} images, crops of {options.size}x{options.size}, batch {options.batch}, ")
    print(f"{options.threads} threads, {options.workers} workers, median of {options.rounds} rounds taken in turns; ")
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision")) + "\n")
    print(f"{'':28}{'images/s':>9}{'of rounds':>12}{'ours is':>9}{'CPU ms/image':>14}{'of ours':>9}{'peak MiB':>10}")
    for name, results in found.items():
        speed, cost, memory = (median(column) for column in zip(*results, strict=True))
        speeds = [one[0] for one in results]
        ratios = [(ours[0] / one[0], one[1] / ours[1]) for ours, one in zip(found[OURS], results, strict=True)]
        faster, cheaper = (median(column) for column in zip(*ratios, strict=True))
        print(f"{name:28}{speed:9.1f}{f'{min(speeds):.0f}-{max(speeds):.0f}':>12}{faster:7.2f} x", end="")
        print(f"{cost:14.2f}{cheaper:7.2f} x{memory:10.0f}")


if __name__ == "__main__":
    main()
