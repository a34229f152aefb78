"""Window attention by shifted views against plain unfolding: time and peak memory of one forward and backward pass.

    python tests/benchmarks/window_attention.py [--device cuda] [--repeats 3]

Each measurement runs in a process of its own, so that the peak is its own; on a CPU it is the growth of the resident
set over what the process holds before the layer runs. Both ways compute the same map from the same weights, which is
checked.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor, nn

from vtbench.attention import san
from vtbench.attention.local_relation import LocalRelation
from vtbench.attention.stand_alone import StandAloneAttention
from vtbench.attention.window import pad_window

LAYERS = ("stand-alone", "local relation", "san pairwise", "san patchwise")
SETTINGS = {
    "small images, 32x32": (64, 16, 32, 2),
    "small images, 8x8": (64, 64, 8, 2),
    "ImageNet, 56x56": (8, 64, 56, 8),
    "ImageNet, 14x14": (8, 256, 14, 8),
}
"""Name -> images, channels, side of the map in cells, heads."""


class PlainStandAlone(StandAloneAttention):
    """The same layer with copies of all keys and values for each offset."""

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Attend within every window."""
        query = self.query(map_BCHW).unflatten(1, (self.num_heads, -1))
        keys, values = (_unfold(part(map_BCHW), self.kernel_size, self.num_heads) for part in (self.key, self.value))
        positions = torch.cat(
            [
                self.row_embedding.repeat_interleave(self.kernel_size, dim=0),
                self.column_embedding.repeat(self.kernel_size, 1),
            ],
            dim=1,
        )
        logits = torch.einsum("bgdhw,bgdkhw->bgkhw", query, keys + positions.T[:, :, None, None])
        weights = _softmax_inside(logits, map_BCHW, self.kernel_size)
        return torch.einsum("bgkhw,bgdkhw->bgdhw", weights, values).flatten(1, 2)


class PlainLocalRelation(LocalRelation):
    """The same layer with copies of the whole map for each offset."""

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Average every window, then mix channels."""
        keys = _unfold(self.key(map_BCHW), self.kernel_size, self.num_maps)[:, :, 0]
        logits = self.query(map_BCHW)[:, :, None] * keys + self.geometry()[:, :, None, None]
        weights = _softmax_inside(logits, map_BCHW, self.kernel_size)
        values = _unfold(map_BCHW, self.kernel_size, self.num_maps)
        return self.transformation(torch.einsum("bgkhw,bgdkhw->bgdhw", weights, values).flatten(1, 2))


def aggregate_copies(weights_BGKN: Tensor, value_BVHW: Tensor, kernel_size: int) -> Tensor:
    """The weighted sum of both layers of SAN, with copies of all values for each offset."""
    windows = _unfold(value_BVHW, kernel_size, value_BVHW.shape[1], "reflect")[:, :, 0]
    weights = weights_BGKN.unflatten(3, value_BVHW.shape[2:])
    return torch.einsum("bgkhw,bdgkhw->bdghw", weights, windows.unflatten(1, (-1, weights.shape[1]))).flatten(1, 2)


def _unfold(map_BCHW: Tensor, kernel_size: int, num_groups: int, mode: str = "constant") -> Tensor:
    windows = nn.functional.unfold(pad_window(map_BCHW, kernel_size, mode), kernel_size)
    return windows.view(len(map_BCHW), num_groups, -1, kernel_size**2, *map_BCHW.shape[2:])


def _softmax_inside(logits: Tensor, map_BCHW: Tensor, kernel_size: int) -> Tensor:
    inside = _unfold(torch.ones_like(map_BCHW[:1, :1]), kernel_size, 1)[0, 0, 0]
    return logits.masked_fill(inside == 0, -torch.inf).softmax(dim=2)


def build(layer: str, way: str, channels: int, num_heads: int) -> nn.Module:
    """The layer, with weights that depend on nothing but its shape."""
    torch.manual_seed(0)
    if layer == "stand-alone":
        kind = StandAloneAttention if way == "shifted views" else PlainStandAlone
        return kind(channels, channels, num_heads=num_heads)
    if layer == "local relation":
        return (LocalRelation if way == "shifted views" else PlainLocalRelation)(channels, channels)
    if way == "plain unfold":  # In a process of its own.
        san.aggregate = aggregate_copies
    kind = san.PairwiseAttention if layer == "san pairwise" else san.PatchwiseAttention
    return kind(channels, max(1, channels // 16), max(8, channels // 4), kernel_size=7)


def measure(layer: str, way: str, setting: str, device: str, repeats: int) -> dict[str, float]:
    """Milliseconds (the best of ``repeats``) and MiB of one forward and backward pass, and the sum of the output."""
    images, channels, side, num_heads = SETTINGS[setting]
    block = build(layer, way, channels, num_heads).to(device)
    x = (
        torch.randn(images, channels, side, side, generator=torch.Generator().manual_seed(1))
        .to(device)
        .requires_grad_()
    )
    build(layer, way, channels, num_heads).to(device)(torch.randn(1, channels, 4, 4, device=device)).sum().backward()
    before = _peak_mib(device)
    times = []
    for _ in range(repeats):
        _synchronize(device)
        start = time.perf_counter()
        out = block(x)
        out.sum().backward()
        _synchronize(device)
        times.append((time.perf_counter() - start) * 1e3)
    return {"ms": min(times), "mib": _peak_mib(device) - before, "sum": out.double().abs().sum().item()}


def _synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _peak_mib(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure all settings and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measure(*options.only, options.device, options.repeats)))
        return
    print(f"{'layer':16}{'map':22}{'shifted views':>22}{'plain unfold':>22}")
    for layer in LAYERS:
        for setting in SETTINGS:
            found = {}
            for way in ("shifted views", "plain unfold"):
                command = [sys.executable, __file__, "--only", layer, way, setting]
                command += ["--device", options.device, "--repeats", str(options.repeats)]
                found[way] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            ours, plain = found["shifted views"], found["plain unfold"]
            assert abs(ours["sum"] - plain["sum"]) <= 1e-4 * plain["sum"], (layer, setting, found)
            cells = [f"{cost['ms']:8.0f} ms {cost['mib']:6.0f} MiB" for cost in (ours, plain)]
            print(f"{layer:16}{setting:22}{cells[0]:>22}{cells[1]:>22}", flush=True)


if __name__ == "__main__":
    main()
