"""Contrasts of arms with each other: what one option does, the others held, over all pairs of arms that differ in it.

The summary has every arm against the reference alone. Where arms differ from one another in a single option of the
network or setting of their own, their difference answers a question, too: by seed, over all such pairs, so that nobody
chooses which pair is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from vtbench.catalog import load_catalog
from vtbench.documents.table import Table, make_table
from vtbench.errors import format_names
from vtbench.metrics import Metric
from vtbench.records import CostRecord, NotMeasured, RunRecord
from vtbench.reporting.arm_settings import list_own_keys, read_options, read_own
from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.reporting.factor_tables import find_effects
from vtbench.reporting.notes import FEWEST_FOR_SPREAD
from vtbench.reporting.tables import PLUS_MINUS, format_estimate
from vtbench.settings import spell_setting
from vtbench.stats.estimates import Estimate, estimate_mean
from vtbench.stats.simultaneous import correct_intervals
from vtbench.variants import split_variant

TOKENS, DYNAMIC, POSITION = "tokens for convolutions", "dynamic for static tokens", "position encoding"
CLAIMS = (TOKENS, DYNAMIC, POSITION)
"""The paper's, in the order of the effects that it claims, largest first."""
_TOKENIZERS, _POSITIONS = ("static", "dynamic"), ("off", "on")

Place = tuple[str, str]
"""Tokenizer and position of an arm."""
Pairs = tuple[tuple[Arm, Arm], ...]


@dataclass(frozen=True)
class TreatedArms:
    """Arms that were treated alike: those of one network with tokens, and its convolutional ``twin`` if it is there."""

    twin: Arm | None
    places: Mapping[Place, Arm]


@dataclass(frozen=True)
class Contrast:
    """First arms less second ones by the headline metric. ``effect`` holds together with the others of its study."""

    claim: str
    pairs: Pairs
    effect: Estimate

    @property
    def verdict(self) -> str:
        """Where zero lies."""
        return {"above": "gains", "below": "loses"}.get(self.side, self.side)

    @property
    def side(self) -> str:
        """On which side of zero the interval lies: ``above``, ``below``, ``not told from 0`` or ``no interval``."""
        if self.effect.interval is None:
            return "no interval"
        low, high = self.effect.interval
        return "above" if low > 0 else "below" if high < 0 else "not told from 0"


def find_contrasts(comparison: Comparison, *, tuned: Collection[str] = ()) -> tuple[Contrast, ...]:
    """Those that the differences to the reference do not show; none where every pair has the reference in it.

    The ``tuned`` settings are no difference of arms: each has what was found for it. A study that its outcome stopped
    has none: no plain interval holds of it. Nor has one whose arms factors made: it has their main effects. The
    interval of each holds together with those of the others.
    """
    if comparison.stopped or find_effects(comparison) is not None:
        return ()
    found = {
        name: pairs
        for name, pairs in list_option_pairs(comparison, tuned=tuned).items()
        if any(comparison.base not in (new.name, old.name) for new, old in pairs)
    }
    if found and (tokens := list_pairs(TOKENS, sort_arms(comparison, tuned=tuned))):
        found = {TOKENS: tokens, **found}
    return contrast_all(comparison, found)


def contrast_all(comparison: Comparison, found: Mapping[str, Pairs]) -> tuple[Contrast, ...]:
    """The contrast of each name that has a seed, with intervals that hold for all of them at once."""
    effects = {name: values for name, pairs in found.items() if pairs and (values := contrast_seeds(pairs))}
    joint = correct_intervals(
        [comparison.withhold(estimate_mean(values, called="differences")) for values in effects.values()]
    )
    return tuple(Contrast(name, found[name], effect) for name, effect in zip(effects, joint, strict=True))


def list_option_pairs(comparison: Comparison, *, tuned: Collection[str] = ()) -> dict[str, Pairs]:
    """All pairs of arms that differ in one option or setting, by its name and its two values.

    Values are taken against that of the arm that stands first in the table, which for the default is most often the
    plain one: ``tokenizer: dynamic for static``.
    """
    traits = _read_traits(comparison, tuned=tuned)
    firsts: dict[str, str] = {}
    for own in traits.values():
        for key, value in own.items():
            firsts.setdefault(key, value)
    arms = {arm.name: arm for arm in comparison.arms}
    pairs: dict[str, list[tuple[Arm, Arm]]] = {}
    for old, plain in traits.items():
        for new, other in traits.items():
            differing = [key for key in plain if other.get(key) != plain[key]]
            if plain.keys() == other.keys() and len(differing) == 1 and plain[differing[0]] == firsts[differing[0]]:
                name = f"{differing[0]}: {other[differing[0]]} for {plain[differing[0]]}"
                pairs.setdefault(name, []).append((arms[new], arms[old]))
    order = sorted(pairs, key=lambda name: list(firsts).index(name.partition(": ")[0]))
    return {name: tuple(pairs[name]) for name in order}


def _read_traits(comparison: Comparison, *, tuned: Collection[str]) -> dict[str, dict[str, str]]:
    """The network, its options and how it is treated of each arm that has run."""
    catalog = {entry.name: entry for entry in load_catalog()}
    variants = {arm.name: arm.variant for arm in comparison.arms}
    return {
        arm: {"network": split_variant(variants[arm])[0], **read_options(variants[arm], catalog)[1], **treatment}
        for arm, treatment in _read_treatments(comparison, tuned=tuned).items()
    }


def _read_treatments(comparison: Comparison, *, tuned: Collection[str]) -> dict[str, dict[str, str]]:
    """The settings and the starting weights of each arm that has run, of those in which any arm has its own."""
    keys = [key for key in list_own_keys(comparison.records) if key not in tuned]
    treatments = {}
    for arm, runs in zip(comparison.arms, comparison.runs, strict=True):
        if runs:
            record = next(iter(runs.values()))
            own = {key: spell_setting(value) for key, value in read_own(record, keys).items()}
            treatments[arm.name] = {**own, "start": _name_start(record)}
    return treatments


def _name_start(record: RunRecord) -> str:
    """The weights that the run starts from, told apart by their hash: two files of one name may differ."""
    init = record.config.init
    if init is None:
        return "random weights"
    if not init.of_arm:
        return "the weights of the study"
    return f"{init.source} ({init.sha256[:8]})" if init.sha256 else init.source


def sort_arms(comparison: Comparison, *, tuned: Collection[str] = ()) -> tuple[TreatedArms, ...]:
    """The arms of one network with tokens, and its convolutional twins: those that are treated alike together.

    These start from the same weights, too; each has what was found for it of the ``tuned`` settings. Of several
    networks with tokens that with arms for the most claims is taken, the first of as many.
    """
    arms = [arm for arm, runs in zip(comparison.arms, comparison.runs, strict=True) if runs]
    catalog = {entry.name: entry for entry in load_catalog()}
    read = {arm.name: read_options(arm.variant, catalog) for arm in arms}
    treated = _read_treatments(comparison, tuned=tuned)
    networks: dict[tuple[str, ...], dict[tuple[str, ...], dict[Place, Arm]]] = {}
    for arm in arms:
        entry, options = read.get(arm.name, (None, {}))
        if entry is not None and "tokenizer" in options:
            rest = dict(options)
            place = rest.pop("tokenizer"), rest.pop("position")
            network = (entry.name, *(f"{key}={value}" for key, value in rest.items()))
            networks.setdefault(network, {}).setdefault(tuple(treated[arm.name].values()), {})[place] = arm

    def find_twin(lead: Arm) -> Arm | None:
        entry, wanted = read[lead.name]
        for arm in arms:
            own, options = read.get(arm.name, (None, {}))
            is_twin = entry is not None and own is not None and own.name == entry.twin
            if is_twin and options.items() <= wanted.items() and treated[arm.name] == treated[lead.name]:
                return arm
        return None

    found = [
        tuple(TreatedArms(find_twin(next(iter(places.values()))), places) for places in treatments.values())
        for treatments in networks.values()
    ]
    return max(found, key=lambda one: sum(bool(list_pairs(claim, one)) for claim in CLAIMS), default=())


def list_pairs(claim: str, arms: Sequence[TreatedArms]) -> Pairs:
    """The pairs of arms whose differences speak to a claim of the paper, of every treatment.

    For convolutions the plainest tokens stand, static ones without position where a study has them.
    """
    return tuple(pair for alike in arms for pair in _list_pairs(claim, alike.twin, alike.places))


def _list_pairs(claim: str, plain: Arm | None, places: Mapping[Place, Arm]) -> Pairs:
    if claim == TOKENS:
        order = [(tokenizer, position) for tokenizer in _TOKENIZERS for position in _POSITIONS]
        first = next((places[place] for place in order if place in places), None)
        return ((first, plain),) if first is not None and plain is not None else ()
    if claim == DYNAMIC:
        wanted = [(("dynamic", position), ("static", position)) for position in _POSITIONS]
    else:
        wanted = [((tokenizer, "on"), (tokenizer, "off")) for tokenizer in _TOKENIZERS]
    return tuple((places[new], places[old]) for new, old in wanted if new in places and old in places)


def contrast_seeds(pairs: Sequence[tuple[Arm, Arm]]) -> list[float]:
    """The mean difference of the pairs for each seed that all of their arms have finished."""
    values = [[_list_values(arm) for arm in pair] for pair in pairs]
    seeds = sorted(set.intersection(*(set(one) for pair in values for one in pair)))
    return [fmean(new[seed] - old[seed] for new, old in values) for seed in seeds]


def tabulate_contrasts(comparison: Comparison, *, tuned: Collection[str] = ()) -> Table | None:
    """One row a contrast; None where there is none."""
    found = find_contrasts(comparison, tuned=tuned)
    if not found:
        return None
    metric, head = comparison.metric, f"effect ({comparison.metric.difference_unit})"
    rows = [
        (
            one.claim,
            name_side(one.pairs, 0),
            name_side(one.pairs, 1),
            format_estimate(one.effect, metric, sign="+"),
            str(one.effect.n),
            {"above": "above 0", "below": "below 0"}.get(one.side, one.side),
        )
        for one in found
    ]
    return make_table(("contrast", "arms", "less", head, "n", "interval"), rows, numbers=(head, "n"))


def list_contrast_numbers(comparison: Comparison, *, tuned: Collection[str] = ()) -> list[dict[str, Any]]:
    """One flat dictionary a contrast; None where there is no interval."""
    return [
        {
            "contrast": one.claim,
            "arms": [new.name for new, _ in one.pairs],
            "less": [old.name for _, old in one.pairs],
            "effect": round(one.effect.mean, 6),
            "half_width": round(one.effect.half_width, 6) if isinstance(one.effect.half_width, float) else None,
            "n": one.effect.n,
        }
        for one in find_contrasts(comparison, tuned=tuned)
    ]


def list_contrast_notes(comparison: Comparison, *, tuned: Collection[str] = ()) -> Iterator[str]:
    """How the effects of the table come about, and for how many the intervals hold at once."""
    found = find_contrasts(comparison, tuned=tuned)
    if found:
        held = sum(one.effect.interval is not None for one in found)
        together = f"; ± is that with which the 95 % intervals of all {held} hold together (after Šidák)"
        but = f" but {format_names([key.rpartition('.')[2] for key in tuned])}, each its own" if tuned else ""
        yield (
            "A contrast is the mean over seeds of the first arms less the others, over all pairs of arms that differ "
            f"in nothing else{but}, paired by seed{together if held > 1 else ''}."
        )
    reasons = {one.effect.half_width.reason: None for one in found if isinstance(one.effect.half_width, NotMeasured)}
    for reason in reasons:
        named = [one.claim for one in found if getattr(one.effect.half_width, "reason", None) == reason]
        yield f"Contrasts without ± ({'; '.join(named)}): {reason}."


def name_side(pairs: Pairs, side: int) -> str:
    """The arms that stand first, 0, or second, 1, in the pairs."""
    return format_names(dict.fromkeys(pair[side].name for pair in pairs), most=None)


def tell_contrasts(contrasts: Sequence[Contrast], metric: Metric) -> Iterator[str]:
    """What each contrast comes to, for the answer; less that of tokens, which the differences to the reference have."""
    told = [one for one in contrasts if one.claim != TOKENS and one.effect.interval is not None]
    if clear := [_tell(one, metric) for one in told if one.side in ("above", "below")]:
        yield f"Clear among the arms, as the interval excludes 0: {'; '.join(clear)}."
    unclear = [one for one in told if one.side == "not told from 0"]
    if said := [_tell(one, metric) for one in unclear if one.effect.n >= FEWEST_FOR_SPREAD]:
        yield f"Not clear among the arms, as the interval includes 0: {'; '.join(said)}."
    if few := [_name(one) for one in unclear if one.effect.n < FEWEST_FOR_SPREAD]:
        yield f"Fewer than {FEWEST_FOR_SPREAD} seeds leave open what there is among the arms: {'; '.join(few)}."


def _tell(one: Contrast, metric: Metric) -> str:
    """``tokenizer: dynamic for static`` as ``tokenizer dynamic for static, 4 points lower (± 14)``."""
    half = one.effect.half_width if isinstance(one.effect.half_width, float) else 0.0
    digits = choose_digits(half, metric)
    spread, finer = metric.format(half, digits=digits), refine_digits([one.effect.mean], digits, metric)
    size = abs(round(one.effect.mean, finer))
    direction = "apart" if not size else "higher" if one.effect.mean > 0 else "lower"
    return f"{_name(one)}, {show_points(size, metric, finer)} {direction} ({PLUS_MINUS} {spread})"


def _name(one: Contrast) -> str:
    return one.claim.replace(":", "")


def tell_costs(pairs: Sequence[tuple[Arm, Arm]]) -> str:
    """What the first of each pair costs beside the second in MACs; nothing where it is not known of all."""
    changes = [
        100 * (one.costs.macs / base.costs.macs - 1)
        for one, base in pairs
        if isinstance(one.costs, CostRecord) and isinstance(base.costs, CostRecord) and base.costs.macs
    ]
    if not pairs or len(changes) < len(pairs):
        return ""
    low, high = round(min(changes)), round(max(changes))

    def say(change: int) -> str:
        return f"{abs(change)} % {'more' if change > 0 else 'fewer'}"

    if low == high:
        return f" at {say(low)} MACs" if low else " at as many MACs"
    if low < 0 < high:
        return f" at {say(low)} to {say(high)} MACs"
    least, most = sorted((abs(low), abs(high)))
    return f" at {least} to {most} % {'more' if high > 0 else 'fewer'} MACs"


def show_points(size: float, metric: Metric, digits: int) -> str:
    """``5 points``, ``1 point``: a size of a difference without its sign."""
    text = metric.format(size, digits=digits)
    unit = metric.difference_unit
    return f"{text} {unit.removesuffix('s') if text == '1' and unit == 'points' else unit}"


def choose_digits(half_width: float, metric: Metric) -> int:
    """How many digits of a mean say something beside a half width: none from 3 on, one from 0.3 on."""
    return min(metric.digits, 0 if half_width >= 3 else 1 if half_width >= 0.3 else metric.digits)


def refine_digits(values: Sequence[float], digits: int, metric: Metric) -> int:
    """A digit more where one of the differences would be rounded to none, which hides on which side of zero it lies."""
    is_coarse = not all(round(value, digits) for value in values)
    return min(metric.digits, digits + 1) if is_coarse else digits


def _list_values(arm: Arm) -> dict[int, float]:
    return {seed: one.value for seed, one in arm.outcomes.items() if not isinstance(one.value, NotMeasured)}
