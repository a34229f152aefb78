"""The files and tables of ``vtbench evaluate``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vtbench.documents.figures import save_figure
from vtbench.documents.table import NOTHING, Table, make_table, to_csv
from vtbench.files import publish_bytes, publish_set, publish_text
from vtbench.metrics import CLASS_ACCURACY, CLASS_IOU, ECE, METRICS, TOP5, Metric
from vtbench.records import NotMeasured, RunRecord, save_record
from vtbench.records.answers import Answers, pack_answers
from vtbench.records.evaluation import ClassEvaluationRecord, EvaluationRecord
from vtbench.reporting.confusion_figure import draw_confusion, read_confusion
from vtbench.reporting.style import PNG_DPI, house_style
from vtbench.run_folder import ANSWERS
from vtbench.settings import spell_setting

RECORD, CLASSES, CONFUSION, FIGURE = "evaluation.json", "classes.csv", "confusion.csv", "confusion"
MOST_CLASSES = 20
"""Of these or fewer a table on the screen has every one."""


def name_evaluation(data: str, fingerprint: str, settings: Mapping[str, Any]) -> str:
    """A name for a folder that tells the images of evaluations apart: ``cifar10-1a2b3c4d``."""
    kind, _, rest = data.partition(":")
    first = rest.partition(",")[0]
    place = "" if "=" in first else Path(first).name
    changed = "".join(
        f"-{key.rpartition('.')[2]}-{re.sub(r'[^0-9a-z.]+', '-', spell_setting(value)).strip('-')}"
        for key, value in settings.items()
    )
    start = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{kind}-{place}").strip("-.")[:60]
    return f"{start}-{fingerprint[:8]}{changed}"


def save_evaluation(record: EvaluationRecord, answers: Answers, folder: Path) -> tuple[str, ...]:
    """Write record, tables, answers and figure into ``folder``, all or none; their names."""
    with publish_set(folder) as staged:
        save_record(staged / RECORD, record)
        publish_text(staged / CLASSES, to_csv(list_class_rows(record)))
        publish_text(staged / CONFUSION, to_csv(list_confusion_rows(record)))
        publish_bytes(staged / ANSWERS, pack_answers(answers))
        with house_style():
            save_figure(draw_confusion(record), staged, FIGURE, dpi=PNG_DPI)
    return RECORD, CLASSES, CONFUSION, f"{FIGURE}.png", f"{FIGURE}.svg", ANSWERS


def list_metrics(record: EvaluationRecord) -> tuple[Metric, ...]:
    """What the record is judged by, the headline first."""
    further = () if record.task == "segmentation" else (TOP5, ECE)
    return tuple(metric for metric in (*METRICS[record.task], *further) if metric.key in record.outcome)


def list_lines(record: EvaluationRecord, run: RunRecord) -> Iterator[tuple[str, str]]:
    """What the whole split came to; where these are the run's own images, what its record has otherwise.

    Of the headline metric it is also said that the record has the same.
    """
    for metric in list_metrics(record):
        value = record.outcome[metric.key]
        yield metric.label, f"not measured: {value.reason}" if isinstance(value, NotMeasured) else metric.show(value)
    loss = record.outcome["loss"]
    yield "val loss", loss.reason if isinstance(loss, NotMeasured) else _show_loss(loss)
    before = run.outcome
    if not record.is_own or isinstance(before, NotMeasured):
        return
    headline = METRICS[record.task][0].key
    ways: dict[str, tuple[str, Callable[[float], str]]]
    ways = {metric.key: (metric.label, metric.show) for metric in list_metrics(record)}
    for key, (label, show) in (ways | {"loss": ("val loss", _show_loss)}).items():
        if key in before and (key == headline or record.outcome[key] != before[key]):
            yield f"{label} in its record:", _compare(record.outcome[key], before[key], show)


def _show_loss(loss: float) -> str:
    return f"{loss:.4f}"


def _compare(now: float | NotMeasured, before: float, show: Callable[[float], str]) -> str:
    if now == before:
        return "the same"
    alike = not isinstance(now, NotMeasured) and show(now) == show(before)
    return f"{show(before)}{', other in digits not shown' if alike else ''}"


def tabulate_classes(record: EvaluationRecord) -> Table:
    """A row a class: those with the lowest headline number where there are too many to show."""
    metrics = _list_class_metrics(record)
    things = _name_items(record)
    chosen = [number for number, one in enumerate(record.classes) if one.numbers]
    if len(record.classes) > MOST_CLASSES:
        key = metrics[0].key
        lowest = sorted(chosen, key=lambda number: record.classes[number].numbers[key])[:MOST_CLASSES]
        chosen = sorted(lowest)
    else:
        chosen = list(range(len(record.classes)))
    rows = [
        (
            record.classes[number].name,
            f"{record.classes[number].items:,}",
            *(_show(record.classes[number], metric) for metric in metrics),
            _name_confused(record, number),
        )
        for number in chosen
    ]
    header = ("class", things, *(metric.head for metric in metrics), "else mostly taken for")
    return make_table(header, rows, numbers=header[1:-1])


def list_class_notes(record: EvaluationRecord) -> Iterator[str]:
    """What a reader must know of that table."""
    if len(record.classes) > MOST_CLASSES:
        head = _list_class_metrics(record)[0].label
        yield f"The {MOST_CLASSES} of {len(record.classes):,} classes with the lowest {head}; {CLASSES} has all."


def list_class_rows(record: EvaluationRecord) -> Iterator[dict[str, Any]]:
    """One row for each class."""
    keys = [metric.key for metric in _list_class_metrics(record)]
    for number, one in enumerate(record.classes):
        yield {
            "class": number,
            "name": one.name,
            _name_items(record): one.items,
            **{key: one.numbers.get(key) for key in keys},
            "else_mostly_taken_for": _find_confused(record, number),
        }


def list_confusion_rows(record: EvaluationRecord) -> Iterator[dict[str, Any]]:
    """The confusion matrix: a row a class of the truth, a column a class that it was taken for."""
    names = [one.name for one in record.classes]
    for name, row in zip(names, read_confusion(record).tolist(), strict=True):
        yield {"truth \\ taken for": name, **dict(zip(names, row, strict=True))}


def _list_class_metrics(record: EvaluationRecord) -> tuple[Metric, ...]:
    return (CLASS_IOU, CLASS_ACCURACY) if record.task == "segmentation" else (CLASS_ACCURACY,)


def _name_items(record: EvaluationRecord) -> str:
    return "pixels" if record.task == "segmentation" else "images"


def _show(one: ClassEvaluationRecord, metric: Metric) -> str:
    return metric.format(one.numbers[metric.key]) if metric.key in one.numbers else NOTHING


def _find_confused(record: EvaluationRecord, number: int) -> str | None:
    others = {other: count for other, count in record.classes[number].taken_for.items() if other != number}
    return record.classes[max(others, key=lambda other: others[other])].name if others else None


def _name_confused(record: EvaluationRecord, number: int) -> str:
    name = _find_confused(record, number)
    if name is None:
        return NOTHING
    one = record.classes[number]
    most = max(count for other, count in one.taken_for.items() if other != number)
    return f"{name} ({100 * most / one.items:.0f} %)"
