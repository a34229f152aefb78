"""``vtbench export``: the network of a finished run as a file for other programs, and its model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtbench.cli.completion import complete_datasets
from vtbench.cli.options import Json, refuse_standard_output
from vtbench.cli.overwriting import Overwrite, refuse_replacing, says

if TYPE_CHECKING:
    from vtbench.records import RunRecord
    from vtbench.records.export import ExportRecord

_CARD = "card"
SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2", _CARD: ".md"}
"""How the name of what each format writes ends; what does it is loaded later."""


def run_export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    format: Annotated[
        str,
        typer.Option(
            help="onnx, torch-export, or card for the model card alone.", autocompletion=lambda: list(SUFFIXES)
        ),
    ] = "onnx",
    data: Annotated[
        str | None,
        typer.Option(
            help="Validation images to check the file on, as --data of train takes them; else the run's own.",
            autocompletion=complete_datasets,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write.  [default: RUN/export/model.SUFFIX, or RUN/README.md]"),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a trained network for other programs.

    The file takes any batch of RGB images from 0 to 1 and normalises them itself; classes, image size, mean and
    standard deviation stand in its metadata and in a JSON file beside it, with a model card. Before anything is
    written, its scores are compared with the network's on validation images.
    """
    from vtbench.cli.first_checks import check_data
    from vtbench.cli.waiting import tell_waiting
    from vtbench.errors import UserError, did_you_mean
    from vtbench.training.folder import find_finished

    if format not in SUFFIXES:
        raise UserError(f"--format was given {format!r}. {did_you_mean(format, SUFFIXES)}")
    if out is not None:
        _check_name(out, format)
    if data is not None:
        if format == _CARD:
            raise UserError("A card is written from the record and checked on no images. Leave --data out.")
        check_data(data, look=True)
    _need_packages("huggingface_hub", *(("onnx", "onnxruntime", "onnxscript") if format == "onnx" else ()))
    if format == _CARD:
        _write_card(run, out, overwrite=overwrite, as_json=as_json)
        return
    record = find_finished(run)
    if out is not None:
        _refuse_replacing(out, record, format, overwrite=overwrite)
    with tell_waiting("loading torch and the models"):
        import vtbench.export.exporting
        import vtbench.models  # noqa: F401 - fills the registry of models.
    with tell_waiting(f"exporting as {format} and checking the file"):
        folder, export = _export(run, format, data, out, overwrite=overwrite)
    _tell(folder, export, as_json=as_json)


def _export(
    run: Path, format: str, data: str | None, out: Path | None, *, overwrite: bool
) -> tuple[Path, ExportRecord]:
    from vtbench.evaluation.evaluate import DataWish, open_data
    from vtbench.export.card import CARD, find_exports, find_study_result, name_note, render_card
    from vtbench.export.exporting import export_run
    from vtbench.export.formats import FORMATS
    from vtbench.files import check_writable, place_within, publish_bytes, publish_set, publish_text
    from vtbench.records import save_record
    from vtbench.training.trained import load_run

    opened = load_run(run)
    path = out or place_within(run, "export") / f"model{FORMATS[format].suffix}"
    _refuse_replacing(path, opened.record, format, overwrite=overwrite)
    check_writable(path.parent)
    export = export_run(opened, open_data(opened, DataWish(data)), format, path.name)
    beside = find_exports(path.parent, opened.record, but=path.name)
    card = render_card(opened.record, find_study_result(run, opened.record), [export.record, *beside])
    with publish_set(path.parent) as staged:
        publish_bytes(staged / path.name, export.data)
        save_record(staged / name_note(path.name), export.record)
        publish_text(staged / CARD, card)
    return path.parent, export.record


def _check_name(out: Path, format: str) -> None:
    """The name ends as files of the format do, and is text: it stands in the card and in JSON."""
    from vtbench.errors import UserError

    refuse_standard_output(out)
    suffix, stem = SUFFIXES[format], "README" if format == _CARD else "model"
    if out.name and out.suffix.lower() != suffix and not out.is_dir():
        raise UserError(
            f"--out was given {out}, and the name of what --format {format} writes ends in {suffix}. Write "
            f"{out / f'{stem}{suffix}' if not out.suffix else out.with_suffix(suffix)}."
        )


def _write_card(run: Path, out: Path | None, *, overwrite: bool, as_json: bool) -> None:
    from vtbench.cli.loudness import tell
    from vtbench.documents.table import to_plain_json
    from vtbench.export.card import CARD, find_exports, find_study_result, render_card
    from vtbench.files import check_writable, publish_text
    from vtbench.training.folder import find_finished

    record = find_finished(run)
    path = out or run / CARD
    _refuse_replacing_card(path, record, overwrite=overwrite)
    check_writable(path.parent)
    publish_text(path, render_card(record, find_study_result(run, record), find_exports(path.parent, record)))
    if as_json:
        typer.echo(to_plain_json({"card": str(path)}), nl=False)
    tell(f"Model card: {path}")


def _refuse_replacing(path: Path, run: RunRecord, format: str, *, overwrite: bool) -> None:
    """Raise ``UserError`` where a file of others would be replaced: what is of this run and format is written anew."""
    from vtbench.errors import UserError
    from vtbench.export.card import CARD, name_note
    from vtbench.records.export import ExportRecord

    _refuse_replacing_card(path.parent / CARD, run, overwrite=overwrite)
    if not path.name or path.name == CARD or path.is_dir() or (path.exists() and not path.is_file()):
        raise UserError(
            f"--out was given {path}, which is no name for the file. Give one such as "
            f"{path / f'model{SUFFIXES[format]}'}."
        )
    if not overwrite:
        is_same = says(ExportRecord, weights_sha256=run.weights_sha256, exported_as=format)
        refuse_replacing(path.parent, [name_note(path.name), path.name], is_same, of=f"this run as {format}")


def _refuse_replacing_card(path: Path, run: RunRecord, *, overwrite: bool) -> None:
    """A README.md that is no card is never replaced: others keep one, too."""
    from vtbench.errors import UserError

    if path.is_dir():
        raise UserError(f"--out was given {path}, which is a folder. Give the file, such as {path / 'README.md'}.")
    if path.exists() and not (path.is_file() and b"library_name: vtbench" in path.read_bytes()):
        raise UserError(
            f"{path} is there already and is no model card of vtbench. Give --out a file in a folder of its own."
        )
    if not overwrite and path.exists() and str(run.weights_sha256) not in path.read_text("utf-8", "replace"):
        raise UserError(
            f"{path} is the model card of another run. Give --out a file in a folder of its own, or --overwrite."
        )


def _need_packages(*names: str) -> None:
    from importlib.util import find_spec

    from vtbench.errors import UserError

    if missing := [name for name in names if find_spec(name) is None]:
        raise UserError(f"This needs {' and '.join(missing)}. Install it: pip install 'vtbench[export]'.")


def _tell(folder: Path, record: ExportRecord, *, as_json: bool) -> None:
    from vtbench.cli.loudness import tell
    from vtbench.export.card import name_note
    from vtbench.records import to_json
    from vtbench.units import format_items

    if as_json:
        typer.echo(to_json(record), nl=False)
    else:
        height, width = record.image_size
        checked = record.checked
        lines = [
            ("takes", f"{record.input_name}: (batch, 3, {height}, {width}), float32, RGB from 0 to 1"),
            ("normalises", "itself, by the mean and deviation of the training images"),
            ("gives", f"{record.output_name}: of {len(record.class_names):,} classes, before the softmax"),
            (
                "checked",
                f"on {format_items(checked.num_images, 'validation image')}, in batches of "
                f"{' and '.join(map(str, checked.batch_sizes))}",
            ),
            ("difference", f"{checked.largest_difference:.1e} at most; {checked.tolerance:.1e} is allowed"),
        ]
        typer.echo(f"{record.variant} as {record.exported_as}")
        for name, text in lines:
            typer.echo(f"  {name:<11} {text}")
    tell(f"Export: {folder / record.file} (beside it {name_note(record.file)} and README.md)")
