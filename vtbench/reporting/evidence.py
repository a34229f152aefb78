"""What committed records say about the three claims of the paper's ablation, whichever way it points.

Wu et al. 2020 (arXiv 2006.03677) claim that a transformer in the place of convolutions gains most, dynamic instead of
static tokens much, and position encoding little. Every archived study whose arms speak to a claim gives a contrast of
arms: by seed, over all pairs of arms that differ in nothing else, so that nobody chooses which pair is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from vtbench.documents.table import Table, list_items, make_table, to_markdown
from vtbench.records import CostRecord, RunRecord
from vtbench.reporting.archive import list_archives
from vtbench.reporting.comparisons import Comparison
from vtbench.reporting.content import list_tuned
from vtbench.reporting.contrasts import (
    CLAIMS,
    Contrast,
    Pairs,
    contrast_all,
    find_contrasts,
    list_pairs,
    name_side,
    sort_arms,
)
from vtbench.reporting.notes import FEWEST_FOR_SPREAD
from vtbench.reporting.report import build_report
from vtbench.reporting.tables import format_estimate
from vtbench.stats.estimates import Estimate, find_spread
from vtbench.stats.power import POWER, find_smallest_effect
from vtbench.units import format_items

_MOST_NAMED = 4


@dataclass(frozen=True)
class StudyEvidence:
    """The contrasts of one archived study, at most one a claim."""

    folder: str
    comparison: Comparison
    contrasts: tuple[Contrast, ...]

    @property
    def record(self) -> RunRecord:
        """A run that says how all were treated."""
        return self.comparison.records[0]


def render_evidence(reports: Path) -> str:
    """Table and sentences of all archives beneath ``reports``, as Markdown."""
    found = [one for folder in list_archives(reports) if (one := find_evidence(folder)).contrasts]
    if not found:
        return "No report has been committed yet that speaks to the claims."
    return f"{to_markdown(tabulate_evidence(found)).rstrip()}\n\n{list_items(list_sentences(found))}"


def find_evidence(folder: Path) -> StudyEvidence:
    """What the archive in ``folder`` says about the claims, with the intervals that its own report has of them."""
    report = build_report(folder)
    comparison, tuned = report.comparisons[0], list_tuned(report)
    arms = sort_arms(comparison, tuned=tuned)
    claims = {claim: list_pairs(claim, arms) for claim in CLAIMS}
    own = [_name_pairs(pairs) for pairs in claims.values()]
    shown = find_contrasts(comparison, tuned=tuned)
    others = {one.claim: one.pairs for one in shown if _name_pairs(one.pairs) not in own}
    contrasts = contrast_all(comparison, {**claims, **others})
    return StudyEvidence(folder.name, comparison, tuple(one for one in contrasts if one.claim in CLAIMS))


def _name_pairs(pairs: Pairs) -> set[tuple[str, str]]:
    return {(new.name, old.name) for new, old in pairs}


def tabulate_evidence(found: Sequence[StudyEvidence]) -> Table:
    """One row a contrast, claim by claim."""
    rows = [
        (
            claim,
            one.folder,
            _describe_setting(one.record),
            _name_side(contrast.pairs, 0),
            _name_side(contrast.pairs, 1),
            f"{format_estimate(contrast.effect, one.comparison.metric, sign='+')} {one.comparison.metric.label}",
            str(contrast.effect.n),
            contrast.verdict,
        )
        for claim, one, contrast in _go_through(found)
    ]
    header = ("claim", "study", "data", "arms", "against", "effect (points)", "n", "says")
    return make_table(header, rows, numbers=("effect (points)", "n"))


def _name_side(pairs: Pairs, side: int) -> str:
    """The arms of one side; many of crossed factors by the levels that they share."""
    names = list(dict.fromkeys(pair[side].name for pair in pairs))
    shared = [level for level in names[0].split(",") if all(level in name.split(",") for name in names)]
    if len(names) > _MOST_NAMED and shared:
        return f"{','.join(shared)} ({len(names)} arms)"
    return name_side(pairs, side)


def list_sentences(found: Sequence[StudyEvidence]) -> Iterator[str]:
    """What ± is, what each claim and their order come to, and what these runs cannot say."""
    yield (
        "An effect is the mean over seeds of the first arms less the second, paired by seed; ± is the half width with "
        "which the 95 % t intervals of all contrasts of a study hold together (after Šidák)."
    )
    if crossed := [one.folder for one in found if any(arm.levels for arm in one.comparison.arms)]:
        yield (
            f"Of {', '.join(crossed)}, where factors are crossed, the effects of the other factors are not among these "
            "contrasts: the intervals in its own report, which hold for those, too, are wider."
        )
    decided = [one.folder for one in found if one.comparison.stopped]
    if decided:
        yield (
            f"No interval: of {', '.join(decided)} the outcome decided how many seeds there are, and no plain interval "
            "holds of these; the one over all looks of an arm against the reference stands in its own report."
        )
    for claim in CLAIMS:
        verdicts = [contrast.verdict for of, _, contrast in _go_through(found) if of == claim]
        if verdicts:
            gains, losses = verdicts.count("gains"), verdicts.count("loses")
            yield (
                f"{claim[0].upper()}{claim[1:]}: of {format_items(len(verdicts), 'study', 'studies')} {gains} "
                f"{'shows' if gains == 1 else 'show'} a gain and {losses} a loss; "
                f"{len(verdicts) - gains - losses} cannot tell the effect from none."
            )
    yield _judge_order(found)
    yield from _list_limits(found)


def _judge_order(found: Sequence[StudyEvidence]) -> str:
    whole = [one for one in found if len(one.contrasts) == len(CLAIMS)]
    shown = [one.folder for one in whole if _is_in_order([contrast.effect for contrast in one.contrasts])]
    told = f"by {', '.join(shown)}" if shown else "by none"
    return (
        "The claimed order (tokens gain most, dynamic ones much, position little) is shown "
        f"{told} of {format_items(len(whole), 'study', 'studies')} with all three."
    )


def _is_in_order(effects: Sequence[Estimate]) -> bool:
    ends = [effect.interval for effect in effects]
    return all(a is not None and b is not None and a[0] > b[1] for a, b in pairwise(ends))


def _list_limits(found: Sequence[StudyEvidence]) -> Iterator[str]:
    records = [record for one in found for record in one.comparison.records]
    params = max(record.costs.params for record in records if isinstance(record.costs, CostRecord))
    findable = [
        find_smallest_effect(find_spread(contrast.effect), contrast.effect.n, level=contrast.effect.level)
        for _, _, contrast in _go_through(found)
        if contrast.effect.interval is not None and contrast.effect.n >= FEWEST_FOR_SPREAD
    ]
    epochs = format_items(max(record.config.recipe.epochs for record in records), "epoch")
    seeds = format_items(max(contrast.effect.n for _, _, contrast in _go_through(found)), "seed")
    yield (
        f"What they cannot say: the claims are of ImageNet, 90 epochs and networks of over 11 M parameters; these are "
        f"of at most {max(record.num_train for record in records):,} training images, "
        f"{epochs}, {params / 1e6:.2f} M parameters and {seeds}. A gain here confirms none of them there, and no gain "
        "refutes none."
    )
    if findable:
        yield (
            f"With a chance of {100 * POWER:.0f} % the sharpest of these contrasts finds a true effect of "
            f"{min(findable):.1f} points, the bluntest one of {max(findable):.1f}; smaller ones are mostly missed."
        )


def _go_through(found: Sequence[StudyEvidence]) -> Iterator[tuple[str, StudyEvidence, Contrast]]:
    for claim in CLAIMS:
        for one in found:
            yield from ((claim, one, contrast) for contrast in one.contrasts if contrast.claim == claim)


def _describe_setting(record: RunRecord) -> str:
    kind, _, path = record.config.data.spec.partition(",")[0].partition(":")
    data = kind if not path or "=" in path else path.rpartition("/")[2]
    return f"{data}, {record.num_train:,} images, {format_items(record.config.recipe.epochs, 'epoch')}"
