"""What timm and torchvision print for the costs of their own models, and which differences from our count explain it.

``timm.csv`` holds the costs of timm's files ``results/benchmark-infer-*.csv`` as of timm 1.0.31, read in November 2026:
G = 10^9 MACs as fvcore (or, where a model was compiled, DeepSpeed) saw it on a GPU, at the side that is given.
``torchvision.csv`` holds what the weights of torchvision 0.29.1 state of themselves (``_ops``, ``num_params``), at the
side that they crop to.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from vtbench.records.profile import ZooEntry
from vtbench.records.record import Record, load_table

TIMM = Path(__file__).with_name("timm.csv")
TORCHVISION = Path(__file__).with_name("torchvision.csv")

MISSES = {
    "fused_attention": "fused attention missed",
    "same_padding": "convolutions with padding='same' missed",
    "recurrent": "recurrent layers missed",
    "by_hand": "products by hand missed",
}
"""Parts of a `ZooEntry` that other counters miss -> how a page says it."""
THE_SAME, NORMS, DEPLOYED = "the same", "norms and pooling counted", "deployed form"
IDLE = "parameters that never run left out"
OTHER_PARAMETERS, UNEXPLAINED = "another definition of the model (its parameters differ)", "not explained"
_HALF_A_DIGIT_G = 0.00501
_RELATIVE = 0.002


class PublishedCost(Record):
    """One printed cost. ``image_size`` is the side of the image, ``run`` says what printed it."""

    model: str
    image_size: int
    macs_g: float
    params_m: float
    run: str


def load_model_costs(path: Path) -> tuple[PublishedCost, ...]:
    """Every row of one of the files, in its order."""
    return load_table(path, PublishedCost)


def explain_cost(printed: PublishedCost, entry: ZooEntry) -> str:
    """Which kinds of difference lead from our count to the printed one, to its last digit or two thousandths."""
    for kinds, macs, params in _list_readings(entry):
        if abs(macs / 1e9 - printed.macs_g) <= _HALF_A_DIGIT_G + _RELATIVE * printed.macs_g and _is_same(
            params, printed.params_m
        ):
            return " + ".join(kinds) or THE_SAME
    known = (entry.params, entry.deployed_params)
    if not any(params is not None and _is_same(params, printed.params_m) for params in known):
        return OTHER_PARAMETERS
    return UNEXPLAINED


def _list_readings(entry: ZooEntry) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """(kinds, MACs, parameters) of every way to count that is known, the simplest first."""
    forms: list[tuple[tuple[str, ...], int, int, int]] = [
        ((), entry.macs or 0, entry.params or 0, entry.norms_and_pools)
    ]
    if entry.deployed_macs is not None and entry.deployed_params is not None:
        deployed = (DEPLOYED,)
        forms.append((deployed, entry.deployed_macs, entry.deployed_params, entry.deployed_norms_and_pools))
    missable = [name for name in MISSES if getattr(entry, name)]
    for size in range(len(missable) + 1):
        for missed in combinations(missable, size):
            lacking = sum(getattr(entry, name) for name in missed)
            for form, macs, params, norms in forms:
                kinds = (*form, *(MISSES[name] for name in missed))
                yield kinds, macs - lacking, params
                yield (*kinds, NORMS), macs - lacking + norms, params
    if entry.idle_params:
        yield (IDLE,), entry.macs or 0, (entry.params or 0) - entry.idle_params


def _is_same(params: int, printed_m: float) -> bool:
    return abs(params / 1e6 - printed_m) <= 0.0051 + 1e-4 * printed_m
