"""``vtbench list``: every registered model with its task, options, parameters and MACs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vtbench.cli.completion import complete_models
from vtbench.cli.loudness import tell, warn
from vtbench.cli.options import Json, choose_format
from vtbench.errors import UserError

if TYPE_CHECKING:
    from vtbench.catalog import CatalogEntry, OptionEntry
    from vtbench.documents.table import Table

Format = Literal["table", "json", "csv", "markdown"]

_HEADERS = ("model", "task", "params M", "MACs M", "setting", "options")
_NUMERIC = ("params M", "MACs M")


def run_list(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATTERN",
            help="A model's name; else all whose name contains this text, or is like 'vt_*'; one or several. Of "
            "others' models: 'timm:resnet*', 'torchvision:vit'.",
            autocompletion=complete_models,
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="What to print.")] = "table",
    as_json: Json = False,
    options: Annotated[bool, typer.Option("--options", help="Below the table, explain every option.")] = False,
) -> None:
    """Which models there are, with their options and costs.

    Parameters and multiply-accumulates (MACs) are of one image at the setting of a model: the side of the image and
    the number of classes for which the costs hold. A choice of options is written NAME:option=value,option=value.
    """
    format = choose_format(format, as_json)
    if options and format != "table":
        raise UserError("--options explains them below the table. Leave it out, or --json and --format.")
    entries = _select(patterns or [])
    if format == "table":
        _print_table(entries, is_chosen=bool(patterns), is_explained=options)
        if options:
            _print_options(entries)
        if any(entry.macs is None for entry in entries):
            library = next(entry.name.partition(":")[0] for entry in entries if entry.macs is None)
            tell(
                "\nCosts of a library's models: vtbench profile, with the same pattern or a name. Their options are "
                f"what the functions take that build them, behind a comma: {library}:NAME,option=value."
            )
    else:
        typer.echo(_render(entries, format), nl=False)


def _select(patterns: Sequence[str]) -> "Sequence[CatalogEntry]":
    """The registered models that are asked for, in the order of the catalogue, and behind them those of libraries."""
    from vtbench.catalog import load_catalog
    from vtbench.errors import did_you_mean
    from vtbench.variants import LIBRARIES, find_kind, is_pattern, select_names

    entries = [*load_catalog(), *_describe_plugins()]
    names = [entry.name for entry in entries]
    chosen: set[str] = set(() if patterns else names)
    of_libraries: list[CatalogEntry] = []
    for pattern in patterns:
        if find_kind(pattern) in LIBRARIES:
            of_libraries += _list_library_models(pattern)
            continue
        found = select_names(pattern, names)
        if not found:
            is_wild = is_pattern(pattern)
            what = "is like" if is_wild else "has"
            said = f"No model {what} {pattern!r}{'' if is_wild else ' in its name'}."
            if pattern in LIBRARIES:
                raise UserError(f"{said} Those of the library are listed by 'vtbench list {pattern}:TEXT'.")
            raise UserError(f"{said} {did_you_mean(pattern.strip('*?'), names)}")
        chosen.update(found)
    return [*(entry for entry in entries if entry.name in chosen), *{one.name: one for one in of_libraries}.values()]


def _list_library_models(pattern: str) -> "list[CatalogEntry]":
    from vtbench.cli.commands import quick_import
    from vtbench.cli.waiting import tell_waiting

    with tell_waiting(f"loading {pattern.partition(':')[0]}"), quick_import():
        from vtbench.models.foreign import list_library_models

        return list_library_models(pattern)


def _describe_plugins() -> "list[CatalogEntry]":
    """The models of packages that are installed, counted now; what cannot be used or counted is said."""
    from vtbench.plugins import PLUGINS

    PLUGINS.load()
    entries = []
    if PLUGINS.loaded:
        from vtbench.models import MODELS
        from vtbench.models.golden import describe_preset

        for name in MODELS:
            if MODELS[name].package is not None:
                try:
                    entries.append(describe_preset(MODELS[name]))
                except UserError as error:
                    warn(f"{name} of {MODELS[name].package} is not listed: {error}")
    for fault in PLUGINS.faults:
        warn(fault)
    return entries


def _describe(entry: "CatalogEntry") -> tuple[str, ...]:
    from vtbench.documents.table import NOTHING
    from vtbench.units import format_millions

    height, width = entry.image_size
    side = str(height) if height == width else f"{height}x{width}"
    classes = f", {entry.num_classes}" if entry.num_classes is not None else ""
    params, macs = (NOTHING if count is None else format_millions(count) for count in (entry.params, entry.macs))
    return (
        entry.name,
        entry.task,
        params,
        macs,
        f"{side} px{classes}",
        " ".join(option.name for option in entry.options),
    )


def _spell_allowed(option: "OptionEntry") -> str:
    if option.allowed is not None:
        return "|".join(str(value) for value in option.allowed)
    return {"integer": "N", "number": "X"}.get(option.type, "TEXT")


def _spell_default(option: "OptionEntry") -> str:
    """The default, with what it stands for where the description says that of it: ``0: twice the width``."""
    import re

    meaning = re.search(rf"(?:^|; ){re.escape(str(option.default))}: ([^;]+)", option.description)
    return f"{option.default}: {meaning[1]}" if meaning and option.allowed is None else str(option.default)


def _tabulate(entries: "Sequence[CatalogEntry]") -> "Table":
    from vtbench.documents.table import make_table

    return make_table(_HEADERS, map(_describe, entries), numbers=_NUMERIC)


def _print_table(entries: "Sequence[CatalogEntry]", *, is_chosen: bool, is_explained: bool) -> None:
    """On a terminal too narrow for options, those of chosen models follow the table unless they are explained there."""
    from vtbench.documents.terminal import lay_out, open_console, print_text

    console, table = open_console(), _tabulate(entries)
    fits = sum(max(map(len, column)) + 2 for column in zip(table.header, *table.rows, strict=True)) <= console.width
    with console.capture() as printed:
        console.print(lay_out(table if fits else table.without("options"), whole=_HEADERS[:-1]))
    typer.echo("\n".join(line.rstrip() for line in printed.get().splitlines()))
    if not fits and is_chosen and not is_explained:
        models_of: dict[str, list[str]] = {}
        for name, *_, names in table.rows:
            models_of.setdefault(names, []).append(name)
        for names, models in models_of.items():
            if names:
                print_text(f"\nOptions of {', '.join(models)}: {', '.join(names.split())}", console)
    elif not fits and not is_explained:
        tell("\nvtbench list NAME names the options of a model, and with --options what they mean.")


def _print_options(entries: "Sequence[CatalogEntry]") -> None:
    import sys
    import textwrap

    from vtbench.documents.terminal import find_width

    width = find_width(sys.stdout)
    models_of: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        for option in entry.options:
            choice = f"{option.name}={_spell_allowed(option)}  (default {_spell_default(option)})"
            models_of.setdefault((choice, option.description), []).append(entry.name)
    for (choice, description), names in models_of.items():
        typer.echo("\n" + textwrap.fill(choice, width, subsequent_indent="  ", break_on_hyphens=False))
        of_models = [f"of {', '.join(names)}"] if len(entries) > 1 else []
        for text in (description, *of_models):
            typer.echo(textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    "))


def _render(entries: "Sequence[CatalogEntry]", format: Format) -> str:
    from dataclasses import asdict

    from vtbench.documents.table import to_csv, to_markdown, to_plain_json

    if format == "json":
        return to_plain_json([asdict(entry) for entry in entries])
    return to_csv(map(_flatten, entries)) if format == "csv" else to_markdown(_tabulate(entries), padded=False)


def _flatten(entry: "CatalogEntry") -> dict[str, Any]:
    height, width = entry.image_size
    options = " ".join(f"{option.name}={_spell_allowed(option)}" for option in entry.options)
    plain = {key: getattr(entry, key) for key in ("name", "family", "task", "twin", "params", "macs")}
    plain |= {"height": height, "width": width, "num_classes": entry.num_classes}
    return {**plain, "options": options, "source": entry.source}
