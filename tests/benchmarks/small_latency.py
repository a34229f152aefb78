"""Latency beside MACs of every registered classification network for small images, taking turns on this machine.

``python tests/benchmarks/small_latency.py`` writes ``latency.jsonl`` to ``reports/latency``, of which
``python -m vtbench.reporting.committed`` makes the page. Nothing else should run meanwhile: the page shows the load.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import vtbench.models  # noqa: F401  # Makes its families known.
from vtbench.profiling.measure import MeasureSettings, measure_models
from vtbench.profiling.sources import resolve_source
from vtbench.published.results import load_costs
from vtbench.records import save_lines
from vtbench.records.measured import LatencyEntry

DEFAULT_FOLDER = Path("reports/latency")
_SIDE = 32


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, batch size by batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER, help="the folder to write to")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--time-limit", type=float, default=20.0, help="seconds a network at most")
    options = parser.parse_args(arguments)
    settings = MeasureSettings(device=options.device, threads=options.threads, time_limit=options.time_limit)
    entries = [entry for size in options.batch_sizes for entry in measure_small(settings, size)]
    options.out.mkdir(parents=True, exist_ok=True)
    save_lines(options.out / "latency.jsonl", entries)


def measure_small(settings: MeasureSettings, batch_size: int) -> list[LatencyEntry]:
    """One entry for each network whose own setting is images of 32 x 32, by rising MACs."""
    costs = {name: cost for name, cost in load_costs().items() if cost.input_shape[1:] == (_SIDE, _SIDE)}
    names = sorted(costs, key=lambda name: (costs[name].macs, name))
    sources = [resolve_source(name) for name in names]
    taken = measure_models(sources, [source.plan_inputs(batch_size) for source in sources], settings)
    return [
        LatencyEntry(model=name, macs=costs[name].macs, params=costs[name].params, measurement=measured)
        for name, measured in zip(names, taken, strict=True)
    ]


if __name__ == "__main__":
    main()
