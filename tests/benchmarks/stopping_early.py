"""What a study saves that stops when it is decided, by simulation, against a fixed number of seeds of equal power.

    python tests/benchmarks/stopping_early.py --most-seeds 20 --arms 4 --smallest-effect 1.0

Effects are in standard deviations of a paired difference. The fixed design has the power that the sequential one has at
the smallest effect of interest, and takes its seeds whatever the true effect is: that is what one must do who does not
know it beforehand. Every contrast runs on until it is decided itself.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import stdtrit

from vtbench.documents.table import make_table, to_markdown
from vtbench.records import NotMeasured
from vtbench.stats.power import count_needed_seeds
from vtbench.stats.sequential import SequentialDesign, design_looks, plan_looks, simulate_looks
from vtbench.stats.simultaneous import correct_level


def simulate_study(
    design: SequentialDesign, effect: float, smallest: float, *, paths: int = 100_000
) -> tuple[float, float, float]:
    """Shares of studies of one contrast that find its sign and that call it negligible, and the mean seeds taken."""
    means_LP, errors_LP = simulate_looks(design.looks, paths, np.random.default_rng(7), effect=effect)
    quantiles = [stdtrit(n - 1, 0.5 + one / 2) for n, one in zip(design.looks, design.levels, strict=True)]
    half_LP = np.asarray(quantiles)[:, None] * errors_LP
    clear_LP = np.abs(means_LP) > half_LP
    done_LP = clear_LP | (np.abs(means_LP) + half_LP <= smallest)
    stop_P = np.where(done_LP.any(axis=0), done_LP.argmax(axis=0), len(design.looks) - 1)
    at_stop = (stop_P, np.arange(paths))
    signed = clear_LP[at_stop] & (means_LP[at_stop] * (effect or 1.0) > 0)
    negligible = done_LP[at_stop] & ~clear_LP[at_stop]
    return float(signed.mean()), float(negligible.mean()), float(np.asarray(design.looks)[stop_P].mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most-seeds", type=int, default=20)
    parser.add_argument("--arms", type=int, default=4, help="arms beside the base")
    parser.add_argument("--smallest-effect", type=float, default=1.0)
    parser.add_argument("--largest-effect", type=float, default=3.0)
    options = parser.parse_args()
    design = design_looks(plan_looks(options.most_seeds), options.arms)
    smallest = options.smallest_effect
    power, _, _ = simulate_study(design, smallest, smallest)
    fixed = count_needed_seeds(smallest, 1.0, power=power, level=correct_level(options.arms))
    assert not isinstance(fixed, NotMeasured)
    effects = [round(options.largest_effect * step / 12, 3) for step in range(13)]
    outcomes = [simulate_study(design, effect, smallest) for effect in effects]
    rows = [
        (f"{effect:.2f}", f"{100 * sign:.1f}", f"{100 * small:.1f}", f"{seeds:.1f}", f"{seeds / fixed:.2f}")
        for effect, (sign, small, seeds) in zip(effects, outcomes, strict=True)
    ]
    header = ("true effect (SD)", "sign found (%)", "negligible (%)", "seeds", "of the fixed")
    print(f"Looks at {design.looks} seeds, {options.arms} contrasts; fixed design of equal power: {fixed} seeds.")
    print(to_markdown(make_table(header, rows, numbers=header)))
    mean = float(np.mean([seeds for _, _, seeds in outcomes])) / fixed
    print(f"Runs over true effects from 0 to {options.largest_effect:g} SD: {mean:.2f} of the fixed design's.")


if __name__ == "__main__":
    main()
