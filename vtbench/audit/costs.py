"""Claims about MACs and parameters: recomputed from the models as they are."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from vtbench.audit.counting import CountFunction, Counts
from vtbench.audit.findings import judge_number, leave_untested
from vtbench.published.claims import Claim
from vtbench.records import NotMeasured
from vtbench.records.finding import Finding

Candidates = list[tuple[float, str]]

_VERSION_1 = "stride_in=1x1"
_VERSION_1_READING = "with the stride in the first 1x1 convolution, unlike the baseline in the same table"


def audit_cost(claim: Claim, count: CountFunction, explanations: dict[str, str]) -> Finding:
    """Recompute a claim of one of the methods in `COST_METHODS`."""
    command = repeat_count(claim)
    if not claim.variant:
        return leave_untested(claim, explanations.get(claim.known, "no such model is registered here"), None)
    names = (*claim.variant.split(), *claim.against.split())
    counted = [count(name, claim.image_size, claim.num_classes) for name in names]
    for one in counted:
        if isinstance(one, NotMeasured):
            return leave_untested(claim, one.reason, command)
    found = [one for one in counted if isinstance(one, Counts)]
    half = len(claim.variant.split())
    candidates = COST_METHODS[claim.method](found[:half], found[half:])
    if _VERSION_1 in claim.variant:
        candidates = [(value, _VERSION_1_READING) for value, _ in candidates]
    return judge_number(claim, candidates, command, explanations)


def repeat_count(claim: Claim) -> str:
    """The command that shows the counts behind a claim."""
    size = "x".join(map(str, claim.image_size)) if claim.image_size[0] != claim.image_size[1] else claim.image_size[0]
    names = [shlex.quote(name) for name in claim.variant.split()]
    against = [shlex.quote(name) for name in claim.against.split()]
    setting = f"--image-size {size}{f' --num-classes {claim.num_classes}' if claim.num_classes else ''}"
    by_stage = " --by stage" if claim.method == "neck_macs" else ""
    if len(names) == 1 and against:
        return f"vtbench profile {names[0]} --against {against[0]} {setting}"
    return f"vtbench profile {' '.join((*names, *against))} {setting}{by_stage}"


def _count_params_but_norm(variants: list[Counts], _: list[Counts]) -> Candidates:
    whole, norms = variants[0].params, variants[0].norm_params
    return [(whole, ""), (whole - norms, "without the parameters of normalisation")]


def _compare_stage5_macs(variants: list[Counts], bases: list[Counts]) -> Candidates:
    before, after = bases[0].stage_macs["stage5"], variants[0].stage_macs["stage5"]
    return [(before / after, f"{before / 1e6:.1f} M over {after / 1e6:.1f} M")]


def _compare_stage5_params(variants: list[Counts], bases: list[Counts]) -> Candidates:
    before, after = bases[0].stage_params["stage5"], variants[0].stage_params["stage5"]
    return [(before / after, f"{before / 1e6:.2f} M over {after / 1e6:.2f} M")]


def _find_largest_stage5_reduction(variants: list[Counts], bases: list[Counts]) -> Candidates:
    ratios = [_compare_stage5_macs([vt], [base])[0][0] for vt, base in zip(variants, bases, strict=True)]
    return [(max(ratios), f"of {', '.join(f'{ratio:.2f}' for ratio in ratios)}")]


COST_METHODS: dict[str, Callable[[list[Counts], list[Counts]], Candidates]] = {
    "macs": lambda variants, _: [(variants[0].macs, "")],
    "params": lambda variants, _: [(variants[0].params, "")],
    "params_but_norm": _count_params_but_norm,
    "macs_ratio": lambda variants, bases: [(bases[0].macs / variants[0].macs, "")],
    "params_ratio": lambda variants, bases: [(bases[0].params / variants[0].params, "")],
    "neck_macs": lambda variants, _: [(variants[0].stage_macs["neck"], "")],
    "neck_macs_ratio": lambda variants, bases: [(bases[0].stage_macs["neck"] / variants[0].stage_macs["neck"], "")],
    "stage5_macs_ratio": _compare_stage5_macs,
    "stage5_params_ratio": _compare_stage5_params,
    "largest_stage5_macs_ratio": _find_largest_stage5_reduction,
}
