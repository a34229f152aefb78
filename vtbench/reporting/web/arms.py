"""One arm in full: what it is, what it costs, how it was trained, and each of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vtbench.documents.table import NOTHING, Table, make_table
from vtbench.records import NotMeasured, RunRecord
from vtbench.reporting.comparisons import Arm, Comparison
from vtbench.reporting.repeating import list_needs, spell_alone
from vtbench.reporting.report import Report, describe_machine, describe_recipe
from vtbench.reporting.runs import identify_run
from vtbench.reporting.tables import format_costs, format_difference, format_estimate
from vtbench.reporting.web.template import show_minus
from vtbench.settings import spell_setting
from vtbench.units import format_duration


@dataclass(frozen=True)
class ArmDetails:
    """What the page tells of one arm on demand. ``command`` is None where no single command makes its first run."""

    name: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    runs: Table
    command: str | None
    needs: str


def list_arm_details(report: Report, comparison: Comparison) -> list[ArmDetails]:
    """Those of every arm, in the order of the table."""
    pairs = zip(comparison.arms, comparison.runs, strict=True)
    return [_describe(report, comparison, arm, list(runs.values())) for arm, runs in pairs]


def _describe(report: Report, comparison: Comparison, arm: Arm, runs: Sequence[RunRecord]) -> ArmDetails:
    metric = comparison.metric
    difference = f"{show_minus(format_difference(arm, metric))}{_tell_interval(comparison, arm)}"
    against = "" if arm.difference is None else f"; against {comparison.base} {difference}"
    headline = f"{metric.head} {format_estimate(arm.mean, metric)}{against if runs else ''}"
    command = spell_alone(runs[0]) if runs else None
    return ArmDetails(
        arm.name,
        headline,
        tuple(_list_facts(arm, runs)),
        _tabulate_runs(report, arm, runs),
        command,
        list_needs(command, runs[:1]) if command else "",
    )


def _tell_interval(comparison: Comparison, arm: Arm) -> str:
    """That the interval of the difference is the arm's own, where the table has one beside it that holds for all."""
    return ", taken alone" if arm in comparison.family and len(comparison.family) > 1 and not comparison.until else ""


def _list_facts(arm: Arm, runs: Sequence[RunRecord]) -> list[tuple[str, str]]:
    facts: dict[str, list[str]] = {"network": [arm.variant or "not run yet"]}
    if arm.treatment:
        own = ", ".join(f"{key}={spell_setting(value)}" for key, value in arm.treatment.items())
        facts["settings of its own"] = [own]
    params, macs = format_costs(arm.costs)
    unknown = isinstance(arm.costs, NotMeasured)
    facts["costs"] = [f"unknown: {arm.costs.reason}" if unknown else f"{params} M parameters, {macs} M MACs per image"]  # type: ignore[union-attr]
    facts["recipe"] = list(dict.fromkeys(describe_recipe(record, own=True) for record in runs))
    facts["machine"] = list(dict.fromkeys(map(describe_machine, runs)))
    facts["commit"] = list(dict.fromkeys(str(record.environment.commit)[:12] for record in runs))
    return [(name, "; ".join(values)) for name, values in facts.items() if values]


def _tabulate_runs(report: Report, arm: Arm, runs: Sequence[RunRecord]) -> Table:
    by_seed: Mapping[int, RunRecord] = {record.seed: record for record in runs}
    metric = runs[0].metric if runs else None
    head = metric.head if metric is not None else "outcome"
    rows = []
    for seed, outcome in arm.outcomes.items():
        record = by_seed.get(seed)
        value = (
            outcome.state if isinstance(outcome.value, NotMeasured) or metric is None else metric.format(outcome.value)
        )
        rows.append((str(seed), value, *_describe_run(report, record)))
    header = ("seed", head, "epochs", "validation loss", "time", "weights (SHA-256)")
    table = make_table(header, rows, numbers=header[:-1])
    return table.without(
        *(title for at, title in enumerate(header) if at > 1 and all(row[at] == NOTHING for row in rows))
    )


def _describe_run(report: Report, record: RunRecord | None) -> tuple[str, str, str, str]:
    if record is None:
        return (NOTHING,) * 4
    taken = report.seconds.get(identify_run(record))
    seconds = NOTHING if taken is None else format_duration(taken)
    loss = (
        f"{record.epochs[-1].outcome['loss']:.3f}" if record.epochs and "loss" in record.epochs[-1].outcome else NOTHING
    )
    return str(len(record.epochs) or NOTHING), loss, seconds, (record.weights_sha256 or NOTHING)[:12]
