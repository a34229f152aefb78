"""CPU time of evaluating an image, by the number of images of a batch; beside it what vtbench chooses.

    python tests/benchmarks/evaluation_batches.py [--threads 1] [--rounds 5] [MODEL@SIZE ...]

All batch sizes of a network take turns on the same images, so that whatever else the machine does meets all of them. It
is the network's forward pass alone, in evaluation mode, as `vtbench train` and `vtbench evaluate` lay it out.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

import vtbench.models  # noqa: F401  # Makes its families known.
from vtbench.tasks import find_task
from vtbench.training.evaluation import choose_batch_size
from vtbench.training.network import build_initialized_network
from vtbench.training.recipe import load_recipe
from vtbench.training.strided_convolution import subsample_first

_NETWORKS = (
    "resnet18:stem=small,width=8@32",
    "vt_resnet18:stem=small,width=8@32",
    "resnet20@32",
    "vt_resnet20@32",
    "vt_fpn_resnet18:width=8,stem=small@64",
    "vt_fpn_resnet18@128",
    "resnet18@224",
    "vt_resnet18@224",
    "resnet50@224",
)
_SIZES = (1, 2, 3, 4, 6, 8, 16, 32, 64, 128, 256)
_RECIPE_SIZE = 256
"""What recipes say unless they say otherwise; here the most that evaluation takes at once."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=_NETWORKS, metavar="MODEL@SIZE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("Milliseconds of CPU time an image; chosen: the batch size of vtbench and its time beside the best.\n")
    print(f"{'':36}{''.join(f'{size:>8}' for size in _SIZES)}   chosen")
    for network in options.networks:
        name, _, side = network.rpartition("@")
        chosen = choose_batch_size(_RECIPE_SIZE, (int(side), int(side)), "cpu")
        sizes = [size for size in sorted({*_SIZES, chosen}) if size * int(side) ** 2 <= 64 * 224**2]
        taken = measure(name, int(side), sizes, options.rounds)
        best = min(taken.values())
        cells = "".join(f"{taken[size]:8.3f}" if size in taken else f"{'':8}" for size in _SIZES)
        print(f"{network:36}{cells}   {chosen}: {taken[chosen] / best:.2f}", flush=True)


def measure(name: str, side: int, sizes: list[int], rounds: int) -> dict[int, float]:
    """Milliseconds an image by batch size, medians over the rounds; a first round does not count."""
    num_images = max(sizes)
    num_classes = 8 if find_task(name).answers_with_masks else 1000
    recipe = load_recipe("small")
    network = build_initialized_network(name, recipe, seed=0, num_classes=num_classes, image_size=(side, side))
    subsample_first(network)
    model = network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    images = torch.randn(num_images, 3, side, side).to(memory_format=torch.channels_last)
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for size in sizes:
                started = time.process_time()
                for part in torch.split(images, size):
                    model(part)
                if turn:
                    taken[size].append(1e3 * (time.process_time() - started) / num_images)
    return {size: statistics.median(times) for size, times in taken.items()}


if __name__ == "__main__":
    main()
