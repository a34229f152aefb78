"""What ``vtbench ablate`` prints besides progress: the studies there are, a plan, a verdict on resuming."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import typer
from rich.text import Text

from vtbench.documents.table import NOTHING, make_table, to_plain_json
from vtbench.documents.terminal import lay_out, open_console, print_text
from vtbench.errors import format_names
from vtbench.records import CostRecord, NotMeasured
from vtbench.settings import spell_setting
from vtbench.units import format_count, format_duration, format_items, format_millions

if TYPE_CHECKING:
    from vtbench.studies.cells import ResolvedStudy
    from vtbench.studies.data_facts import DataFacts
    from vtbench.studies.planning import PlannedArm, StudyPlan, Total

N = TypeVar("N", int, float)


def print_studies(*, as_json: bool) -> None:
    """Every study that comes with vtbench: name, number of arms, question."""
    from vtbench.studies.study import list_studies, read_study

    studies = {name: read_study(path) for name, path in list_studies().items()}
    if as_json:
        plain = [{"study": name, **study.as_written()} for name, study in studies.items()]
        typer.echo(to_plain_json(plain), nl=False)
        return
    rows = [(name, study.question, str(len(study.list_arms()))) for name, study in studies.items()]
    open_console().print(lay_out(make_table(("study", "question", "arms"), rows, numbers=("arms",)), look="plain"))


def print_plan(plan: StudyPlan) -> None:
    """The cells of a study, what each costs, and the whole."""
    study, facts, console = plan.study, plan.facts, open_console()
    header = ("arm", *(("trials",) if plan.num_trials else ()), "to run", "MACs (M)", "params (M)", "a cell")
    table = make_table(header, map(_show_arm, plan.counted), numbers=header[1:])
    num_open, num_cells = sum(arm.num_open for arm in plan.arms), sum(arm.num_cells for arm in plan.arms)
    open_trials = sum(arm.num_open_trials for arm in plan.arms)
    trials = f"{open_trials} of {format_items(plan.num_trials, 'run')} of tuning" if plan.num_trials else ""
    if study.tuning is not None and study.tuning.epochs is not None:
        trials += f" ({format_items(study.tuning.epochs, 'epoch')} each)"
    trials += " and " if trials else ""
    print_text(f"{study.name}: {study.question}", console, style="bold")
    classes = format_items(facts.num_classes, "class", "classes")
    console.print(
        Text(
            f"{facts.name_data(len(study.arms))}: {facts.num_train:,} training and "
            f"{format_items(facts.num_val, 'validation image')}, {classes}; "
            f"recipe {study.recipe.name}, {format_items(study.recipe.epochs, 'epoch')}; folder {plan.folder}\n"
        )
    )
    if facts.note is not None:
        print_text(f"{facts.note}\n", console)
    console.print(lay_out(table, look="plain"))
    num_counted = len(plan.counted)
    if num_estimated := sum(arm.is_estimated and not isinstance(arm.speed, NotMeasured) for arm in plan.counted):
        print_text(
            f"\n~ is estimated by MACs: of {num_counted:,} arms {num_counted - num_estimated} were measured, "
            "spread evenly over their MACs.",
            console,
        )
    console.print(
        Text("\n" + "\n".join(f"{arm.arm} = {_spell_arm(arm, study)}" for arm in plan.counted)), soft_wrap=True
    )
    if num_counted < len(plan.arms):
        print_text(
            f"\nOf {len(plan.arms):,} arms {num_counted}, drawn at random, were built and counted; the totals are "
            "estimated from them, ± at 95 %. The study builds every arm before it starts.",
            console,
        )
    if (rule := study.until) is not None:
        looks = format_names(rule.looks)
        print_text(f"\nAt most so many: seeds are added, in looks at {looks} seeds, until all is decided.", console)
    if not num_open + open_trials:
        print_text(f"\nNothing is left to run: all {format_items(num_cells, 'cell')} have ended.", console)
        return
    console.print(
        Text(
            f"\n{trials}{num_open:,} of {format_items(num_cells, 'cell')} to run, {plan.placement.at_once} "
            f"({plan.placement.reason}): "
            f"{_show_time(plan.seconds)}, {_show_macs(plan.macs)}"
        )
    )
    for tried in plan.placement.tried:
        print_text(str(tried), console)


def list_plan(plan: StudyPlan) -> dict[str, Any]:
    """The plan as plain values; what is not known is null, and MACs and times are of what is still to be run.

    Data and their sizes are those that arms share; an arm with other data or limits has its own.
    """
    return {
        "study": plan.study.name,
        "question": plan.study.question,
        "folder": str(plan.folder),
        "data": plan.facts.data.spec,
        "recipe": plan.study.recipe.name,
        "epochs": plan.study.recipe.epochs,
        "num_train": plan.facts.num_train,
        "num_val": plan.facts.num_val,
        "num_classes": plan.facts.num_classes,
        "image_size": plan.facts.image_size,
        "jobs": plan.placement.jobs,
        "threads": plan.placement.threads,
        "takes_turns": plan.placement.takes_turns,
        **({"tried": [one.model_dump(mode="json") for one in plan.placement.tried]} if plan.placement.tried else {}),
        **_list_total("seconds", plan.seconds),
        **_list_total("macs", plan.macs),
        "num_counted": len(plan.counted),
        "arms": [_list_arm(arm, plan.facts.of_arms.get(arm.arm)) for arm in plan.arms],
    }


def _list_arm(arm: PlannedArm, own: DataFacts | None) -> dict[str, Any]:
    """The arm as plain values, with the facts of its data where it has its ``own``."""
    costs, speed = arm.costs, arm.speed
    sizes = ("num_train", "num_val", "num_classes", "image_size")
    return {
        "arm": arm.arm,
        "variant": arm.variant,
        **({"data": own.data.spec, **{size: getattr(own, size) for size in sizes}} if own is not None else {}),
        "num_cells": arm.num_cells,
        "num_open": arm.num_open,
        **({"num_trials": arm.num_trials, "num_open_trials": arm.num_open_trials} if arm.num_trials else {}),
        "macs": costs.macs if isinstance(costs, CostRecord) else None,
        "params": costs.params if isinstance(costs, CostRecord) else None,
        "seconds_a_cell": None if isinstance(speed, NotMeasured) else speed.run_seconds,
        "is_estimated": arm.is_estimated,
    }


def _list_total(name: str, total: Total | NotMeasured) -> dict[str, float | None]:
    value, error = (None, None) if isinstance(total, NotMeasured) else (total.value, total.error)
    return {name: value, f"{name}_error": error}


def _spell_arm(arm: PlannedArm, study: ResolvedStudy) -> str:
    own = study.treatments.get(arm.arm, {})
    return "; ".join((arm.variant, *(f"{key}={spell_setting(value)}" for key, value in own.items())))


def _show_arm(arm: PlannedArm) -> list[str]:
    costs, speed = arm.costs, arm.speed
    macs, params = (costs.macs, costs.params) if isinstance(costs, CostRecord) else (None, None)
    return [
        arm.arm,
        *([f"{arm.num_open_trials}/{arm.num_trials}"] if arm.num_trials else []),
        f"{arm.num_open}/{arm.num_cells}",
        NOTHING if macs is None else format_millions(macs),
        NOTHING if params is None else format_millions(params, digits=3),
        NOTHING
        if isinstance(speed, NotMeasured)
        else f"{'~' if arm.is_estimated else ''}{format_duration(speed.run_seconds)}",
    ]


def _show_time(seconds: Total | NotMeasured) -> str:
    if isinstance(seconds, NotMeasured):
        return f"time unknown ({seconds.reason})"
    return f"about {format_duration(seconds.value)}{_show_error(seconds)}"


def _show_macs(macs: Total | NotMeasured) -> str:
    if isinstance(macs, NotMeasured):
        return f"MACs unknown ({macs.reason})"
    count = format_count(round(macs.value))
    return f"{'' if macs.error is None else 'about '}{count}{' ' if count.isdigit() else ''}MACs{_show_error(macs)}"


def _show_error(total: Total) -> str:
    return "" if total.error is None else f" ± {100 * total.error / total.value:.0f} %"
