"""One compiled run of the tiny network: ``python compiled_run.py FOLDER SEED WIDTH`` prints what torch compiled."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tiny_parts import tiny_config, tiny_world

from vtbench.training import train_run


def main(folder: Path, seed: int, width: int) -> None:
    from torch._dynamo.utils import counters

    with tiny_world():
        config = tiny_config(seed=seed, execution={"compile": True})
        record = train_run(config.model_copy(update={"variant": f"tiny:width={width}"}), folder)
    assert record.status == "finished", record.error
    found = counters["inductor"]
    facts = {
        "kernels": record.kernels,
        "weights": record.weights_sha256,
        "missed": found["fxgraph_cache_miss"],
        "hit": found["fxgraph_cache_hit"],
        "graphs": found["fxgraph_cache_miss"] + found["fxgraph_cache_hit"],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
