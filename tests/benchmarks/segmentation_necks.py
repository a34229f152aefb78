"""Necks of segmentation networks: VT-FPN as the paper has it, folded, and the feature pyramid; time and memory.

    python tests/benchmarks/segmentation_necks.py [--device cuda] [--rounds 7] [--depth 50] [--sizes 473x473 800x1216]

Only the neck runs, on random maps of an image. The three take turns, one pass each a round; a ratio is the median over
rounds of the ratio to VT-FPN within the round, so that a machine that slows down slows both sides. Peak memory is of
the maps, the weights and the tensors alive together in inference; kept is what a training step saves between forward
and backward pass, counted without running it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from vtbench.environment import describe_environment
from vtbench.input_shapes import parse_image_size
from vtbench.models import create_model
from vtbench.profiling import profile
from vtbench.profiling.arguments import Arguments
from vtbench.profiling.measure import measure_peak_memory
from vtbench.profiling.storage import measure_activations
from vtbench.profiling.walking import Contents
from vtbench.training.network import initialize_by_name

NECKS = {"VT-FPN": "vt_fpn_resnet{}", "VT-FPN, folded": "vt_fpn_resnet{}:fold=on", "FPN": "fpn_resnet{}"}


def build_neck(variant: str, size: tuple[int, int], device: torch.device) -> tuple[nn.Module, list[Tensor]]:
    """The neck of the network, in evaluation, and random maps as its trunk would give them for one image."""
    model = create_model(variant, image_size=size)
    initialize_by_name(model, 0)
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(1, end.channels, *end.map_size, generator=generator) for end in model.stage_ends]
    return model.neck.eval().to(device), [one.to(device) for one in maps]


def count_kept(variant: str, size: tuple[int, int]) -> int:
    """Bytes that a training step keeps for the backward pass of the neck."""
    with torch.device("meta"):
        model = create_model(variant, image_size=size)
        maps = [torch.empty(1, end.channels, *end.map_size) for end in model.stage_ends]
        return measure_activations(Contents(model.neck.train()), Arguments(tuple(maps))).bytes


def time_pass(neck: nn.Module, maps: list[Tensor], device: torch.device, *, backward: bool) -> float:
    """Milliseconds of one forward pass, or of a forward and a backward pass."""
    _synchronize(device)
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        outputs = neck(*maps)
        if backward:
            sum(output.sum() for output in outputs).backward()
    _synchronize(device)
    return (time.perf_counter() - start) * 1e3


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _describe(values: dict[str, list[float]], name: str) -> str:
    ratio = median(own / first for own, first in zip(values[name], values["VT-FPN"], strict=True))
    return f"{median(values[name]):9.1f} ms x{ratio:5.2f}"


def compare(depth: int, size: tuple[int, int], device: torch.device, rounds: int) -> None:
    """Measure the three necks and print a line for each."""
    variants = {name: spelling.format(depth) for name, spelling in NECKS.items()}
    built = {name: build_neck(variant, size, device) for name, variant in variants.items()}
    passes: dict[str, Callable[[str], float]] = {
        "inference": lambda name: time_pass(*built[name], device, backward=False),
        "training": lambda name: time_pass(*built[name], device, backward=True),
    }
    times = {kind: {name: [] for name in built} for kind in passes}
    for round_number in range(rounds + 1):  # The first warms up.
        for kind, run in passes.items():
            for name in built:
                taken = run(name)
                if round_number:
                    times[kind][name].append(taken)
    print(f"\nResNet-{depth}, {size[0]}x{size[1]} pixels, batch 1, {rounds} rounds")
    head = f"{'neck':16}{'M MACs':>10}{'inference':>20}{'training':>20}{'peak MiB':>17}{'kept MiB':>17}"
    print(head)
    peaks = {name: measure_peak_memory(neck, Arguments(tuple(maps)), device) for name, (neck, maps) in built.items()}
    kept = {name: count_kept(variant, size) for name, variant in variants.items()}
    for name, (neck, maps) in built.items():
        macs = profile(neck, inputs=maps, activations=False).macs / 1e6
        memory = [f"{one[name] / 2**20:9.0f} x{one[name] / one['VT-FPN']:5.2f}" for one in (peaks, kept)]
        cells = [_describe(times[kind], name) for kind in passes]
        print(f"{name:16}{macs:10,.1f}{cells[0]:>20}{cells[1]:>20}{memory[0]:>17}{memory[1]:>17}", flush=True)


def main() -> None:
    """Measure every size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--sizes", nargs="+", default=["473x473", "800x1216"])
    options = parser.parse_args()
    device = torch.device(options.device)
    print(describe_environment(device))
    for size in options.sizes:
        compare(options.depth, parse_image_size(size), device, options.rounds)


if __name__ == "__main__":
    main()
