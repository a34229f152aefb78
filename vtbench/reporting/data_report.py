"""What vtbench makes of a data set, as text for the terminal, Markdown, CSV and JSON, and as files with figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from vtbench.documents.figures import save_figure
from vtbench.documents.table import Table, list_items, make_table, to_csv, to_markdown
from vtbench.documents.terminal import lay_out, print_text
from vtbench.files import publish_set, publish_text
from vtbench.records import NotMeasured, save_record, to_json
from vtbench.records.data import DataRecord, DuplicatesRecord, SplitRecord
from vtbench.reporting.contact_figure import Sheet, draw_sheet
from vtbench.reporting.style import house_style

TextFormat = Literal["markdown", "csv", "json"]

_MOST_CLASSES = 24
_MOST_KINDS = 3
_MOST_PAIRS = 5
DATA_FILES = ("data.json", "classes.csv", "data.md")
_SHOWN_OF_HASH = 32
_DPI = 110
_WORDS = {"train": "training", "val": "validation"}


def list_facts(record: DataRecord) -> list[tuple[str, str]]:
    """Pairs of a heading and what the data set is in its regard."""
    facts = [("serves", ", ".join(record.tasks))]
    if record.taken:
        facts.append(("taken", ", ".join(f"{part}: {name}" for part, name in record.taken.items())))
    facts += [
        ("given as", f"{_show_size(record.image_size)} pixels, RGB: {_describe_fit(record)}"),
        ("mean", " ".join(f"{value:.4f}" for value in record.mean)),
        ("deviation", " ".join(f"{value:.4f}" for value in record.std)),
    ]
    if record.classes:
        counts = sorted(one.num_train for one in record.classes)
        spread = f"{counts[0]:,} to {counts[-1]:,}" if counts[0] != counts[-1] else f"{counts[0]:,}"
        facts.append(("classes", f"{len(record.classes):,}, each with {spread} training images"))
    if record.pixel_classes:
        facts.append(("of pixels", f"{len(record.pixel_classes)} classes"))
    return [*facts, *((f"{one.split} content", one.content[:_SHOWN_OF_HASH]) for one in record.splits)]


def _describe_fit(record: DataRecord) -> str:
    """What is done to images of the sizes in the files, so that they have that of the network."""
    height, width = record.image_size
    sizes = {size for one in record.splits for size in (one.sizes.smallest, one.sizes.median, one.sizes.largest)}
    if sizes == {record.image_size}:
        return "as they are"
    if all(one_height * width == one_width * height for one_height, one_width in sizes):
        return "scaled, nothing is cut"
    if record.masks and not record.classes:
        return "scaled to fit whole; a margin fills what lacks, void in masks"
    return "scaled so that the shorter side fits, then cut at the centre"


def tabulate_splits(record: DataRecord) -> Table:
    """One row a split: images, sizes as in the files, formats and modes."""
    header = ("split", "images", "smallest", "median", "largest", "kinds")
    rows = (
        (
            one.split,
            f"{one.num_images:,}",
            *(_show_size(size) for size in (one.sizes.smallest, one.sizes.median, one.sizes.largest)),
            _show_kinds(one),
        )
        for one in record.splits
    )
    return make_table(header, rows, numbers=header[1:5])


def tabulate_classes(record: DataRecord, *, most: int | None = None) -> Table:
    """One row a class of images: how many there are in each split."""
    header = ("class", "train", "val")
    rows = ((one.name, f"{one.num_train:,}", f"{one.num_val:,}") for one in record.classes[:most])
    return make_table(header, rows, numbers=header[1:])


def tabulate_pixels(record: DataRecord, *, most: int | None = None) -> Table:
    """One row a class of pixels: its share of those that have a class, and the masks that show it."""
    header = ("class of pixels", "train %", "in masks", "val %", "in masks")
    rows = (
        (one.name, f"{one.train_percent:.2f}", f"{one.num_train:,}", f"{one.val_percent:.2f}", f"{one.num_val:,}")
        for one in record.pixel_classes[:most]
    )
    return make_table(header, rows, numbers=header[1:])


def list_notes(record: DataRecord) -> list[str]:
    """What is not as it should be, or must be known to read the tables."""
    notes = []
    for split in record.splits:
        if split.num_looked_at < split.num_images:
            measured = "Sizes, kinds, mean and deviation" if split.split == "train" else "Sizes and kinds"
            notes.append(
                f"{measured} are those of {split.num_looked_at:,} of the {split.num_images:,} "
                f"{_WORDS[split.split]} images, spread evenly."
            )
    for mask in record.masks:
        values = f"; the files hold the values {_show_values(mask.values)}" if mask.values else ""
        notes.append(
            f"{mask.num_looked_at:,} {_WORDS[mask.split]} masks were looked at: {mask.void_percent:.2f} % of their "
            f"pixels are void{values}."
        )
    notes += _list_lacking(record)
    if isinstance(record.duplicates, NotMeasured):
        notes.append(f"Duplicates were not looked for: {record.duplicates.reason}.")
    else:
        notes += _describe_duplicates(record.duplicates, record)
    if any(split.is_sampled for split in record.splits):
        notes.append(
            "The files are so large that the content is told by all names and sizes, and by parts of some files: "
            "another content of the same size may go unseen."
        )
    return notes


def _list_lacking(record: DataRecord) -> Iterator[str]:
    lacking = [one.name for one in record.classes if not one.num_val]
    lacking += [one.name for one in record.pixel_classes if not one.num_val]
    if lacking:
        more = f" and {len(lacking) - _MOST_PAIRS} more" if len(lacking) > _MOST_PAIRS else ""
        yield f"Not seen in validation: {', '.join(lacking[:_MOST_PAIRS])}{more}."


def _describe_duplicates(found: DuplicatesRecord, record: DataRecord) -> Iterator[str]:
    how = "pixel for pixel" if found.by == "pixels" else "byte for byte"
    if not (found.num_train or found.num_val or found.num_shared):
        yield f"No image stands in the data twice, {how}."
        return
    if found.num_train or found.num_val:
        yield (
            f"{found.num_train:,} training and {found.num_val:,} validation images repeat an earlier one of their own "
            f"split, {how}."
        )
    if found.num_shared:
        relabelled = f", {found.num_relabelled:,} of them under another label" if found.num_relabelled else ""
        yield (
            f"LEAK: {found.num_shared:,} of the {record.splits[1].num_images:,} validation images stand in the "
            f"training split, too, {how}{relabelled}. The first: "
            f"{'; '.join(f'{one} = {other}' for one, other in found.shared[:_MOST_PAIRS])}."
        )


def print_data(record: DataRecord, console: Console) -> None:
    """Facts, tables and notes; of many classes the first few."""
    print_text(record.data, console, style="bold")
    for name, text in list_facts(record):
        print_text(f"  {name:<14} {text}", console)
    console.print()
    console.print(lay_out(tabulate_splits(record)))
    for table, count in (
        (tabulate_classes(record, most=_MOST_CLASSES), len(record.classes)),
        (tabulate_pixels(record, most=_MOST_CLASSES), len(record.pixel_classes)),
    ):
        if count:
            console.print()
            console.print(lay_out(table))
        if count > _MOST_CLASSES:
            print_text(f"... and {count - _MOST_CLASSES:,} more: --format csv has them all.", console)
    console.print()
    for note in list_notes(record):
        print_text(f"- {note}", console, style="bold yellow" if note.startswith("LEAK") else "")


def render_data(record: DataRecord, text_format: TextFormat) -> str:
    """The record in one of the formats that are text."""
    if text_format == "json":
        return to_json(record)
    return to_csv(list_rows(record)) if text_format == "csv" else _render_markdown(record)


def list_rows(record: DataRecord) -> Iterator[dict[str, Any]]:
    """One row a class of images or of pixels; raw numbers."""
    for one in record.classes:
        yield {"of": "images", **one.model_dump()}
    for pixel in record.pixel_classes:
        yield {"of": "pixels", **pixel.model_dump()}


def write_data(record: DataRecord, sheets: Mapping[str, Sheet], folder: Path) -> list[Path]:
    """Write ``data.json``, ``data.md``, ``classes.csv`` and the sheets (PNG, SVG), all or none; returns their paths."""
    with publish_set(folder) as staged:
        written = [staged / name for name in DATA_FILES[:2]]
        save_record(written[0], record)
        publish_text(written[1], render_data(record, "csv"))
        with house_style():
            for name, sheet in sheets.items():
                written += save_figure(draw_sheet(sheet), staged, name, dpi=_DPI)
        written.append(staged / DATA_FILES[2])
        figures = "".join(f"\n![{sheet.title}]({name}.png)\n" for name, sheet in sheets.items())
        publish_text(written[-1], _render_markdown(record) + figures)
    return [folder / path.name for path in written]


def _render_markdown(record: DataRecord) -> str:
    parts = [f"# {record.data}", list_items(f"{name}: {text}" for name, text in list_facts(record))]
    tables = (tabulate_splits(record), tabulate_classes(record), tabulate_pixels(record))
    parts += [to_markdown(table).rstrip() for table in tables if table.rows]
    return "\n\n".join([*parts, list_items(list_notes(record))]) + "\n"


def _show_size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _show_kinds(split: SplitRecord) -> str:
    shown = [f"{kind} {count:,}" for kind, count in split.kinds.items()]
    if len(shown) == 1:
        return next(iter(split.kinds))
    more = f", {len(shown) - _MOST_KINDS} more" if len(shown) > _MOST_KINDS else ""
    return ", ".join(shown[:_MOST_KINDS]) + more


def _show_values(values: tuple[int, ...]) -> str:
    """``0 to 11, 255``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
