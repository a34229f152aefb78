"""The model card of a finished run, as the Hugging Face hub reads it, from its record alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtbench.documents.table import Table, escape_markdown, make_table, to_markdown
from vtbench.errors import UserError
from vtbench.files import resolve
from vtbench.metrics import METRICS, VOID_PERCENT, is_of_class
from vtbench.records import NotMeasured, RunRecord, load_record
from vtbench.records.export import ExportRecord
from vtbench.reporting.archive import make_portable
from vtbench.reporting.runs import load_runs
from vtbench.run_folder import STUDY, WEIGHTS
from vtbench.stats.estimates import estimate_mean
from vtbench.units import format_millions, format_within

CARD = "README.md"
"""Where the hub looks for it: beside the weights."""
_PIPELINES = {"classification": "image-classification", "segmentation": "image-segmentation"}
_HUB_METRICS = {"top1_percent": "accuracy", "miou_percent": "mean_iou"}
_MOST_CLASSES = 30


def name_note(file: str) -> str:
    """The JSON beside an exported file: named after the whole of it, since formats differ in their ends."""
    return f"{file}.json"


def find_exports(folder: Path, record: RunRecord, *, but: str = "") -> list[ExportRecord]:
    """What else of this run lies exported in ``folder``, besides the file ``but``."""
    found = []
    for note in sorted(folder.glob("*.json")):
        try:
            export = load_record(note, ExportRecord)
        except UserError:
            continue
        own = export.weights_sha256 == record.weights_sha256 and note.name == name_note(export.file)
        if own and export.file != but and (folder / export.file).is_file():
            found.append(export)
    return found


@dataclass(frozen=True)
class StudyResult:
    """What the arm of a run came to over all its seeds: values of the headline metric."""

    study: str
    arm: str
    values: tuple[float, ...]


def find_study_result(folder: Path, record: RunRecord) -> StudyResult | None:
    """That of the study in which the run in ``folder`` is a cell; None for a run by itself."""
    study = next((parent for parent in resolve(folder).parents[:3] if (parent / STUDY).is_file()), None)
    if study is None or record.arm is None:
        return None
    records = [one for one in load_runs(study).records if one.arm == record.arm and one.variant == record.variant]
    values = tuple(one.headline for one in records if isinstance(one.headline, float))
    return StudyResult(record.study or study.name, record.arm, values)


def render_card(record: RunRecord, study: StudyResult | None, exported: Sequence[ExportRecord] = ()) -> str:
    """The text of the card, of a ``record`` that tells nothing of the machine's folders.

    Raises ``UserError`` where the hub's library does not read back what it was given.
    """
    from huggingface_hub import ModelCard

    record = make_portable(record)
    data = _describe_metadata(record)
    text = f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(_list_parts(record, study, exported)) + "\n"
    read: Any = ModelCard(text, ignore_metadata_errors=False)
    if read.data.to_dict() != data.to_dict():
        raise UserError("The model card would not be read as it is meant. Nothing was written.")
    return text


def _describe_metadata(record: RunRecord) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    pipeline, metric, spec = _PIPELINES.get(record.task), record.metric, record.config.data.spec
    results = [
        EvalResult(
            task_type=pipeline or record.task,
            dataset_type=spec.partition(":")[0],
            dataset_name=spec,
            dataset_split="validation",
            metric_type=_HUB_METRICS.get(metric.key, metric.key),
            metric_name=metric.title,
            metric_value=round(value / 100 if metric.unit == "%" else value, 6),
        )
        for value in [record.headline]
        if isinstance(value, float)
    ]
    return ModelCardData(
        library_name="vtbench",
        pipeline_tag=pipeline,
        tags=["vtbench", record.variant.partition(":")[0], record.task],
        model_name=record.variant,
        metrics=[_HUB_METRICS.get(metric.key, metric.key)],
        eval_results=results,
    )


def _list_parts(record: RunRecord, study: StudyResult | None, exported: Sequence[ExportRecord]) -> Iterator[str]:
    yield f"# {escape_markdown(record.variant)}"
    yield escape_markdown(
        f"A network for {record.task} of {record.num_classes:,} classes, trained with vtbench "
        f"{record.environment.vtbench} on {record.config.data.spec}, seed {record.seed}. Written from the run's record."
    )
    yield "## Results"
    yield _to_table(_list_results(record), ("validation", "value"))
    yield _describe_spread(record, study)
    yield "## Data"
    yield _to_table(_list_data(record), ("data", ""))
    yield _list_classes(record)
    yield "## Training"
    yield _to_table(_list_recipe(record), ("setting", "value"))
    yield "## Costs"
    yield _to_table(_list_costs(record), ("of one image", ""))
    yield "## How to load"
    yield "\n".join(_explain_loading(exported))
    yield "## Certificate"
    yield (
        "SHA-256 of everything that two networks must share to be comparable. Equal fields, equal treatment; "
        "`weights` is of the file of weights."
    )
    yield _to_table(_list_certificate(record), ("what", "SHA-256"))


def _list_results(record: RunRecord) -> Iterator[tuple[str, str]]:
    if isinstance(record.outcome, NotMeasured):
        yield "not measured", record.outcome.reason
        return
    for metric in METRICS[record.task]:
        if metric.key in record.outcome:
            yield metric.title, metric.show(record.outcome[metric.key])
    if VOID_PERCENT in record.outcome:
        yield "pixels of no class (void), which count nowhere", f"{record.outcome[VOID_PERCENT]:.2f} %"
    told = {VOID_PERCENT, *(metric.key for metric in METRICS[record.task])}
    yield from (
        (key, f"{value:.4f}") for key, value in record.outcome.items() if key not in told and not is_of_class(key)
    )


def _describe_spread(record: RunRecord, study: StudyResult | None) -> str:
    if study is None or len(study.values) < 2:
        return "One run of one seed: how far another seed would come from this is not known."
    metric, estimate = record.metric, estimate_mean(list(study.values))
    half = estimate.half_width
    mean, digits = estimate.mean, metric.digits
    told = metric.format(mean) if isinstance(half, NotMeasured) else format_within(mean, half, digits=digits)
    return escape_markdown(
        f"Over {estimate.n} seeds of the arm {study.arm} of the study {study.study}: {metric.title} "
        f"{told} {metric.unit} (mean and 95 % t interval)."
    )


def _list_data(record: RunRecord) -> Iterator[tuple[str, str]]:
    yield "data set", record.config.data.spec
    yield "training images", f"{record.num_train:,}"
    yield "validation images", f"{record.num_val:,}"
    yield from ((f"taken as {part}", name) for part, name in record.taken.items())


def _list_classes(record: RunRecord) -> str:
    names = record.class_names[:_MOST_CLASSES]
    more = f" and {len(record.class_names) - _MOST_CLASSES} more" if len(record.class_names) > _MOST_CLASSES else ""
    return escape_markdown(f"Classes, in the order of the scores: {', '.join(names)}{more}.") if names else ""


def _list_recipe(record: RunRecord) -> Iterator[tuple[str, str]]:
    recipe = record.config.recipe
    yield "recipe", recipe.name
    yield "epochs", str(recipe.epochs)
    yield "batch", str(recipe.batch_size)
    yield "optimizer", f"{recipe.optimizer.name}, learning rate {recipe.optimizer.learning_rate:g}"
    yield "weight decay", f"{recipe.optimizer.weight_decay:g}"
    yield "schedule", recipe.schedule.name
    yield "precision", record.config.execution.precision
    if record.config.init is not None:
        yield "started from", record.config.init.source
    if recipe.freeze:
        yield "not trained", ", ".join(recipe.freeze)
    yield "seed", str(record.seed)
    yield "carried out on", f"{record.environment.device_name}, torch {record.environment.packages.get('torch', '?')}"


def _list_costs(record: RunRecord) -> Iterator[tuple[str, str]]:
    if isinstance(record.costs, NotMeasured):
        yield "not measured", record.costs.reason
        return
    channels, height, width = record.costs.input_shape
    yield "image", f"{channels} x {height} x {width}"
    yield "MACs", f"{format_millions(record.costs.macs)} M"
    yield "parameters", f"{format_millions(record.costs.params, digits=3)} M"


def _list_certificate(record: RunRecord) -> Iterator[tuple[str, str]]:
    if (certificate := record.certificate) is not None:
        own = certificate.model_dump(exclude={"untreated"}, exclude_none=True)
        yield from own.items()
        shared = certificate.untreated.model_dump(exclude_none=True) if certificate.untreated is not None else {}
        for key, value in shared.items():
            if own.get(key) != value:
                yield f"{key}, without the settings of the run's own", value
    yield "weights", record.weights_sha256 or "none"


def _explain_loading(exported: Sequence[ExportRecord]) -> Iterator[str]:
    yield f"In the run's folder, with `{WEIGHTS}` beside `record.json`; the hash of the weights is checked:"
    yield "```python"
    yield "import vtbench"
    yield 'run = vtbench.load_run(".")'
    yield "network = run.load_model()  # a torch.nn.Module in evaluation mode"
    yield "expects = run.preparation  # image_size, mean, std, class_names"
    yield "```"
    yield "or `vtbench predict . --image photo.jpg`."
    for one in sorted(exported, key=lambda one: one.file):
        height, width = one.image_size
        yield ""
        yield f"The file `{one.file}`, without vtbench. Pixels are RGB from 0 to 1, the graph normalises them:"
        yield "```python"
        if one.exported_as == "onnx":
            yield "import numpy as np, onnxruntime"
            yield f"session = onnxruntime.InferenceSession({one.file!r})"
            yield f"images = np.zeros((1, 3, {height}, {width}), np.float32)"
            yield f'scores = session.run(["{one.output_name}"], {{"{one.input_name}": images}})[0]'
        else:
            yield "import torch"
            yield f"network = torch.export.load({one.file!r}).module()"
            yield f"scores = network(torch.zeros(1, 3, {height}, {width}))"
        yield "```"


def _to_table(rows: Iterator[tuple[str, str]], header: tuple[str, str]) -> str:
    table: Table = make_table(header, rows)
    return to_markdown(table).rstrip()
