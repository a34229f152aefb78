"""Claims about accuracy. Only training on the claim's own data can reproduce or contradict them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from vtbench.audit.findings import describe_claim, leave_untested
from vtbench.published.claims import Claim
from vtbench.records import RunRecord
from vtbench.records.finding import Finding
from vtbench.stats.estimates import estimate_mean

IMAGENET_SPLITS = (1_281_167, 50_000, 1000)
"""Training images, validation images and classes of ImageNet-1k: runs on anything else never count."""


def audit_top1(claim: Claim, runs: Sequence[RunRecord], explanations: Mapping[str, str]) -> Finding:
    """Hold a printed top-1 against runs of the same variant, with the claim's recipe, on the whole of ImageNet.

    It takes two seeds or more: the printed number must lie in the 95 % t interval, widened by its own rounding.
    """
    command = repeat_training(claim)
    if not claim.variant:
        return leave_untested(claim, explanations.get(claim.known, "no such model is registered here"), None)
    own = [run for run in runs if run.variant == claim.variant and isinstance(run.headline, float)]
    fitting = [run for run in own if _is_imagenet(run) and run.config.recipe.name == claim.recipe]
    if not fitting:
        return leave_untested(claim, _explain_absence(claim, own), command)
    estimate = estimate_mean([float(run.headline) for run in fitting])  # type: ignore[arg-type]
    if estimate.interval is None:
        return leave_untested(claim, f"{estimate.mean:.2f} % here, but over n = {estimate.n}: no interval", command)
    assert claim.value is not None and claim.rounding is not None
    low, high = (end + sign * float(claim.rounding) / 2 for end, sign in zip(estimate.interval, (-1, 1), strict=True))
    inside = low <= float(claim.value) <= high
    return Finding(
        **describe_claim(claim),
        here=f"{estimate.mean:.2f} %",
        deviation_percent=round((estimate.mean / float(claim.value) - 1) * 100, 3),
        status="reproduced" if inside else "contradicted",
        known=bool(claim.known) and not inside,
        reason=f"95 % t interval {estimate.interval[0]:.2f} to {estimate.interval[1]:.2f}, n = {estimate.n}",
        command=command,
    )


def audit_other_training(claim: Claim) -> Finding:
    """Claims that no record here can speak to yet: what they take is named."""
    if claim.method == "miou":
        data = claim.cell.rpartition(", ")[2]
        return leave_untested(claim, f"needs training on {data}; accuracy on other data never counts", None)
    reason = {
        "train_top1": "needs ImageNet; run records keep training accuracy under augmentation only",
        "top1_gain": "needs ImageNet and the advanced recipe for both networks; accuracy on other data never counts",
        "effect_order": "needs the components study on ImageNet; accuracy on other data never counts",
    }[claim.method]
    return leave_untested(claim, reason, None if claim.method == "train_top1" else repeat_training(claim))


def repeat_training(claim: Claim) -> str | None:
    """The command that would test the claim where ImageNet lies; None where its recipe is not among those here."""
    if claim.method == "effect_order":
        return "vtbench ablate components --base vt_resnet18 --data folder:IMAGENET --recipe default --seeds 3"
    if claim.recipe not in ("default", "advanced"):
        return None
    variant = shlex.quote(claim.variant) if claim.variant else "vt_resnet101"
    return f"vtbench train {variant} --data folder:IMAGENET --recipe {claim.recipe}"


def _is_imagenet(run: RunRecord) -> bool:
    return (run.num_train, run.num_val, run.num_classes) == IMAGENET_SPLITS and run.config.data.limit_train is None


def _explain_absence(claim: Claim, own: Sequence[RunRecord]) -> str:
    reason = "needs ImageNet training, at least two seeds"
    if claim.recipe not in ("default", "advanced"):
        reason += f", and {claim.recipe} recipe, which is not among those here"
    if own:
        run = own[0]
        reason += f"; the runs on {run.num_train:,} images and {run.num_classes} classes here never count"
    return reason
