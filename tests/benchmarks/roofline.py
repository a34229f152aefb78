"""How near a training step is to what this machine can do: its operators against measured roofs.

    python tests/benchmarks/roofline.py [--models resnet18:stem=small,width=8 ...] [--batch 64 128] [--threads 1]

Roofs are the best of several rounds: GFLOP/s of matrix products in float32 and bfloat16, and GB/s of a copy of 2 MB,
which is the size of a map of these networks, and of 256 MB, which no cache holds. GFLOP/s of single convolutions,
forward and backward, stand below: they show what the library reaches at few channels. Then training steps are profiled;
of every operator the best round counts, so that other work on the machine changes little. For each class of operators:
its share of the time; the GFLOP/s or GB/s that it reaches, the least traffic assumed (every operand is read once and
every result written once, and normalisation reads its input a second time); the part of the roof, that of 2 MB; and, in
the last line, how much faster the step were if all reached their roofs and what is in no class stayed as it is. 1 MAC
is 2 FLOP.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

MAP_BYTES, LARGE_BYTES = 2 * 2**20, 256 * 2**20
SHAPES = ((3, 8, 32, 1), (8, 8, 32, 1), (8, 16, 32, 2), (16, 16, 16, 1), (32, 32, 8, 1), (64, 64, 4, 1))
"""Input and output channels, height of the input, stride: 3x3 convolutions of resnet18:stem=small,width=8."""
PASSES = {
    "aten::native_batch_norm": ("batch normalisation", 3),
    "aten::native_batch_norm_backward": ("batch normalisation", 5),
    "aten::native_layer_norm": ("layer normalisation", 3),
    "aten::native_layer_norm_backward": ("layer normalisation", 5),
    "aten::relu": ("ReLU", 2),
    "aten::relu_": ("ReLU", 2),
    "aten::clamp_min": ("ReLU", 2),
    "aten::clamp_min_": ("ReLU", 2),
    "aten::threshold_backward": ("ReLU", 3),
    "aten::add": ("addition", 3),
    "aten::add_": ("addition", 3),
    "aten::mul": ("multiplication", 3),
    "aten::mul_": ("multiplication", 3),
    "aten::copy_": ("copy", 2),
    "aten::_softmax": ("softmax", 2),
    "aten::_softmax_backward_data": ("softmax", 3),
    "aten::avg_pool2d": ("pooling", 2),
    "aten::avg_pool2d_backward": ("pooling", 2),
}
"""Operators that move more than they compute: their class, and how often a tensor of their largest operand is moved."""
CONVOLUTION, PRODUCT, OPTIMISER, OTHER = "convolution", "matrix product", "optimiser", "all else"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", default=["resnet18:stem=small,width=8", "vt_resnet18:stem=small,width=8,num_tokens=8"]
    )
    parser.add_argument("--batch", nargs="+", type=int, default=[64, 128])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gflops, gbps = print_roofs(options.rounds)
    for name in options.models:
        for batch in options.batch:
            print_step(name, batch, options.rounds, gflops, gbps)


def best_seconds(work: Callable[[], Any], rounds: int) -> float:
    work()
    found = []
    for _ in range(rounds):
        started = time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()
        work()
        ended = time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()
        found.append(ended - started)
    return min(found)


def print_roofs(rounds: int) -> tuple[float, float]:
    gflops = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.randn(1024, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
        gflops[dtype] = 2 * 1024**3 / best_seconds(lambda a=left, b=right: a @ b, rounds) / 1e9
    gbps = {}
    for size in (MAP_BYTES, LARGE_BYTES):
        source = torch.randn(size // 4)
        target = torch.empty_like(source)
        repeats = max(1, MAP_BYTES * 20 // size)
        copy = lambda a=source, b=target, n=repeats: [b.copy_(a) for _ in range(n)]  # noqa: E731
        gbps[size] = 2 * size * repeats / best_seconds(copy, rounds) / 1e9
    maps = torch.randn(64, 8, 32, 32).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.ones(8), torch.zeros(8)
    norm = best_seconds(lambda: F.batch_norm(maps, None, None, weight, bias, training=True), rounds)
    print(f"torch {torch.__version__}, threads {torch.get_num_threads()}, best of {rounds} rounds")
    print(f"matrix product 1024   float32 {gflops[torch.float32]:.0f} GFLOP/s, bfloat16 {gflops[torch.bfloat16]:.0f}")
    print(f"copy                  {gbps[MAP_BYTES]:.1f} GB/s in 2 MB, {gbps[LARGE_BYTES]:.1f} in 256 MB")
    print(f"batch normalisation   {3 * maps.numel() * 4 / norm / 1e9:.1f} GB/s, 64 maps of 8x32x32, channels last\n")
    print(f"{'3x3 convolution, batch 64':32}{'forward':>9}{'backward':>10}  GFLOP/s, channels last")
    for shape in SHAPES:
        forward, backward = measure_convolution(*shape, rounds=rounds)
        label = f"{shape[0]} -> {shape[1]} at {shape[2]}x{shape[2]}, stride {shape[3]}"
        print(f"{label:32}{forward:9.1f}{backward:10.1f}")
    return gflops[torch.float32], gbps[MAP_BYTES]


def measure_convolution(wide: int, out: int, side: int, stride: int, *, rounds: int) -> tuple[float, float]:
    layout = torch.channels_last
    maps = torch.randn(64, wide, side, side).contiguous(memory_format=layout)
    weight = torch.randn(out, wide, 3, 3).contiguous(memory_format=layout)
    result = F.conv2d(maps, weight, stride=stride, padding=1)
    gradient = torch.randn_like(result)
    flop = 2 * result.numel() * 9 * wide
    forward = best_seconds(lambda: F.conv2d(maps, weight, stride=stride, padding=1), rounds)
    sides = ([stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, (True, True, False))
    backward = best_seconds(lambda: torch.ops.aten.convolution_backward(gradient, maps, weight, None, *sides), rounds)
    return flop / forward / 1e9, 2 * flop / backward / 1e9


def print_step(name: str, batch: int, rounds: int, gflops: float, gbps: float) -> None:
    step, num_params = make_step(name, batch)
    for _ in range(3):
        step()
    found = [profile_step(step, num_params) for _ in range(rounds)]
    seconds, amounts = defaultdict[str, float](float), defaultdict[str, float](float)
    for same in zip(*found, strict=True):  # One operator in every round, of which other work disturbs some.
        kind, amount, _ = same[0]
        seconds[kind] += min(one[2] for one in same)
        amounts[kind] += amount
    total = sum(seconds.values())
    print(f"\n{name}, batch {batch}: {1000 * total:.1f} ms a step, {batch / total:.0f} images/s")
    print(f"{'':24}{'of time':>8}{'reached':>14}{'of the roof':>13}{'at the roof':>13}")
    at_roof = 0.0
    for kind in sorted(seconds, key=lambda kind: -seconds[kind]):
        roof, unit = (gflops, "GFLOP/s") if kind in (CONVOLUTION, PRODUCT) else (gbps, "GB/s")
        least = seconds[kind] if kind == OTHER else amounts[kind] / roof / 1e9
        at_roof += min(least, seconds[kind])
        rate = "" if kind == OTHER else f"{amounts[kind] / seconds[kind] / 1e9:.1f} {unit}"
        part = "" if kind == OTHER else f"{100 * least / seconds[kind]:.0f} %"
        print(f"{kind:24}{100 * seconds[kind] / total:6.1f} %{rate:>14}{part:>13}{1000 * least:10.2f} ms")
    print(f"all at their roofs: {1000 * at_roof:.1f} ms, {total / at_roof:.2f}x as fast")


def profile_step(step: Callable[[], None], num_params: int) -> list[tuple[str, float, float]]:
    """Class, FLOP or bytes, and seconds of every operator of a step, in order."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        step()
    found = []
    for event in sorted(profiler.events(), key=lambda event: event.time_range.start):
        kind, amount = classify(event, num_params)
        if kind is not None:
            found.append((kind, amount, event.cpu_time_total / 1e6))
        elif not is_inside_known(event, num_params):
            found.append((OTHER, 0.0, event.self_cpu_time_total / 1e6))
    return found


def make_step(name: str, batch: int) -> tuple[Callable[[], None], int]:
    """A step of vtbench's trainer on random images, and the number of parameters."""
    import vtbench.models  # noqa: F401
    from vtbench.configuration import ExecutionConfig
    from vtbench.models import create_model
    from vtbench.tasks import find_task
    from vtbench.training import load_recipe
    from vtbench.training.reproducibility import keep_freed_memory
    from vtbench.training.trainer import Trainer

    keep_freed_memory()
    torch.manual_seed(0)
    model: Any = create_model(name, num_classes=10, image_size=32)
    recipe = load_recipe("small", epochs=1, batch_size=batch)
    execution = ExecutionConfig(device="cpu")
    trainer = Trainer(
        model, find_task(name), recipe, execution, torch.device("cpu"), seed=0, batches_per_epoch=1_000_000
    )
    trainer.switch_to_training()
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    return lambda: trainer.train_batch(images, labels), sum(one.numel() for one in model.parameters())


def classify(event: Any, num_params: int) -> tuple[str | None, float]:
    """The class of an operator that is inside no other of a class, and its FLOP or bytes."""
    return (None, 0.0) if is_inside_known(event, num_params) else weigh(event, num_params)


def is_inside_known(event: Any, num_params: int) -> bool:
    parent = event.cpu_parent
    while parent is not None:
        if weigh(parent, num_params)[0] is not None:
            return True
        parent = parent.cpu_parent
    return False


def weigh(event: Any, num_params: int) -> tuple[str | None, float]:
    name, shapes = event.name, event.input_shapes
    if name == "aten::convolution":
        maps, weight, stride = shapes[0], shapes[1], event.concrete_inputs[3]
        return CONVOLUTION, 2.0 * maps[0] * prod(maps[2:]) / prod(stride) * prod(weight)
    if name == "aten::convolution_backward":
        result, maps, weight = shapes[:3]
        of_one = 2.0 * result[0] * prod(result[2:]) * prod(weight)
        return CONVOLUTION, of_one * (1 if maps[1] == 3 else 2)  # Nobody needs the gradient of images.
    if name in ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"):
        left, right = shapes[-2:] if name in ("aten::mm", "aten::bmm") else shapes[1:3]
        return PRODUCT, 2.0 * prod(left) * right[-1]
    if name == "aten::_fused_sgd_":
        return OPTIMISER, 5 * 4.0 * num_params / 2  # Weights with and without decay are two calls.
    if name in PASSES:
        kind, passes = PASSES[name]
        return kind, 4.0 * passes * max((prod(shape) for shape in shapes if shape), default=0)
    return None, 0.0


if __name__ == "__main__":
    main()
