"""``vtbench profile``: what models cost, counted twice, and if asked measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtbench.cli.completion import complete_devices, complete_models
from vtbench.cli.options import BatchSize, Json, check_device, choose_format, refuse_standard_output

if TYPE_CHECKING:
    from vtbench.input_shapes import InputSpec
    from vtbench.profiling.sources import Source
    from vtbench.reporting.profile_report import ProfiledModel

Format = Literal["table", "json", "csv", "markdown", "latex"]
NEEDS = {**dict.fromkeys(("device", "precision", "threads", "time-limit"), ("measure",)), "depth": ("by",)}
_SPLITS = ("stage", "role", "module", "operator")
_ENDS_OF_ROWS = (".jsonl", ".ndjson", "")


def run_profile(
    models: Annotated[
        list[str],
        typer.Argument(
            help="NAME[:option=value,...], timm:NAME[,option=value,...], torchvision:NAME[,...] or "
            "FILE.py:CALLABLE[,...], which runs that file's code; in names, * stands for anything: 'timm:*'.",
            autocompletion=complete_models,
        ),
    ],
    image_size: Annotated[
        str | None,
        typer.Option(
            "--image-size", "--input-size", help="Side or HEIGHTxWIDTH in pixels; else what each model is quoted at."
        ),
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Channels of the image; else 3.")] = None,
    input: Annotated[
        list[str] | None,
        typer.Option(help="Instead of one image, what forward is given, each as NAME=SHAPE[:TYPE] without the batch."),
    ] = None,
    batch_size: BatchSize = 1,
    num_classes: Annotated[
        int | None, typer.Option(min=1, max=100_000_000, help="Else what each model is quoted with.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Show splits of the MACs: stage,role,module,operator.")] = None,
    depth: Annotated[int, typer.Option(min=1, max=1000, help="Levels of modules that --by module shows.")] = 2,
    against: Annotated[
        str | None,
        typer.Option(help="Show each model's parts against those of this one.", autocompletion=complete_models),
    ] = None,
    train_mode: Annotated[bool, typer.Option("--train-mode", help="Count the pass in training mode.")] = False,
    backward: Annotated[bool, typer.Option("--backward", help="Also count the MACs of a training step.")] = False,
    count_contractions: Annotated[
        bool, typer.Option("--count-contractions", help="Count multiply-then-sum patterns instead of refusing them.")
    ] = False,
    at_limits: Annotated[
        bool, typer.Option("--at-limits", help="Where values decide the cost, count the most that the model allows.")
    ] = False,
    fuse: Annotated[
        bool, typer.Option("--fuse", help="Count the form for deployment: merged branches, folded norms.")
    ] = False,
    compare_tools: Annotated[
        bool, typer.Option("--compare-tools", help="Also ask the counters of others that are installed.")
    ] = False,
    measure: Annotated[bool, typer.Option("--measure", help="Also measure latency, throughput and memory.")] = False,
    device: Annotated[
        str,
        typer.Option(
            help="For --measure: auto, cpu, cuda, cuda:N or mps.",
            autocompletion=complete_devices,
            callback=check_device,
        ),
    ] = "auto",
    precision: Annotated[str, typer.Option(help="For --measure: float32, bfloat16 or float16.")] = "float32",
    threads: Annotated[int | None, typer.Option(min=1, max=1024, help="For --measure: CPU threads.")] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, max=86400, help="For --measure: most seconds a model.")] = 20.0,
    jobs: Annotated[int, typer.Option(min=1, max=1024, help="For many models: processes that count.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="A file of JSON lines (.jsonl), a row a model as it is done; an existing one goes on."
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="What to print.")] = "table",
    as_json: Json = False,
) -> None:
    """Count the MACs, parameters and activations of models.

    A MAC is one multiply-accumulate. Every operator that runs is counted, known to be free, or refused; the count is
    held against closed forms of the layers. No weights are allocated. With --measure, latency is measured as well. A
    model that fails does not stop the others: exit code 2.
    A pattern, --jobs or --out gives a short row a model, and the reason of those refused.
    """
    from vtbench.cli.commands import quick_import
    from vtbench.cli.first_checks import check_variants
    from vtbench.cli.loudness import warn
    from vtbench.cli.waiting import tell_waiting
    from vtbench.errors import UserError
    from vtbench.input_shapes import parse_image_size, parse_input
    from vtbench.units import format_items
    from vtbench.variants import is_pattern

    format = choose_format(format, as_json)
    splits = _parse_splits(by)
    if numbers := [name for name in models if name.replace(".", "").isdigit()]:
        raise UserError(
            f"{numbers[0]!r} is no model. --image-size takes one value, such as 224 or 320x480; channels have an "
            "option of their own, --channels."
        )
    # Of several models a misspelt one does not stop the others.
    alone = models if len(models) == 1 and not is_pattern(models[0]) else []
    check_variants(*alone, *([against] if against else []))
    size = parse_image_size(image_size) if image_size is not None else None
    if input and (size or channels):
        raise UserError("--input says whole shapes, so --image-size and --channels have nothing to say beside it.")
    inputs = tuple(parse_input(text) for text in input or ())
    if out is not None:
        refuse_standard_output(out)
    if out is not None and out.exists() and not out.is_file():
        kind = "folder" if out.is_dir() else "pipe or a device"
        raise UserError(f"--out was given {out}, which is a {kind}. Give a file of JSON lines, such as rows.jsonl.")
    if out is not None and out.suffix.lower() not in _ENDS_OF_ROWS:
        raise UserError(
            f"--out was given {out}, and what is written is JSON lines. Name it {out.with_suffix('.jsonl')}; another "
            "--format is printed, and > puts it into a file."
        )
    is_many = out is not None or jobs > 1 or any(map(is_pattern, models))
    if is_many:
        _refuse_single_options(
            {"input": input, "by": by, "against": against, "compare-tools": compare_tools, "measure": measure}
        )
    with tell_waiting("loading torch and the counter"), quick_import():
        from vtbench.documents.terminal import open_console
        from vtbench.profiling.breakdown import compare_profiles
        from vtbench.profiling.profile import ProfileSettings, profile_source
        from vtbench.reporting.profile_report import ProfiledModel, print_profiles, render_profiles

    settings = ProfileSettings(
        training=train_mode,
        backward=backward,
        count_contractions=count_contractions,
        at_limits=at_limits,
        activations=True,
        fuse=fuse,
    )
    if is_many:
        from vtbench.cli.zoo_output import run_zoo
        from vtbench.profiling.zoo import ZooRequest

        request = ZooRequest(settings, size, channels, num_classes, batch_size)
        if not run_zoo(models, request, jobs=jobs, out=out, format=format):
            raise typer.Exit(2)
        return
    wanted = None
    if measure:
        from vtbench.profiling.measure import MeasureSettings

        wanted = MeasureSettings(device=device, dtype=precision, threads=threads, time_limit=time_limit)
        wanted.find_device()  # Before anything is counted.
    found: list[ProfiledModel] = []
    sources: list[Source] = []
    failed = False
    base = None
    if against is not None:
        with tell_waiting(f"counting {against}"):
            source = _resolve(against, size, channels, num_classes, inputs)
            base = profile_source(source, settings, batch_size=batch_size)
    for name in models:
        try:
            with tell_waiting(f"counting {name}"):
                source = _resolve(name, size, channels, num_classes, inputs)
                if compare_tools and len(source.inputs) > 1:
                    raise UserError(f"{name}: --compare-tools asks about one image, and this model takes several.")
                counted = profile_source(source, settings, batch_size=batch_size)
            found.append(ProfiledModel(counted, compare_profiles(counted, base) if base is not None else None))
            sources.append(source)
            if compare_tools:
                from vtbench.profiling.compare_tools import compare_tools as ask_tools

                with tell_waiting(f"asking other tools about {name}"):
                    found[-1].tools = ask_tools(source, counted)
        except UserError as error:
            failed = True
            warn(str(error))
    if wanted is not None and found:
        from vtbench.profiling.measure import measure_models

        given = [source.plan_inputs(batch_size) for source in sources]
        with tell_waiting(f"measuring {format_items(len(found), 'model')}, at most {time_limit:g} s each"):
            taken = measure_models(sources, given, wanted)
        for findings, measured in zip(found, taken, strict=True):
            findings.measured = measured
    if format == "table":
        print_profiles(found, open_console(), splits=splits, depth=depth)
    else:
        typer.echo(render_profiles(found, format, splits=splits, depth=depth), nl=False)
    if failed:
        raise typer.Exit(2)


def _refuse_single_options(given: dict[str, object]) -> None:
    from vtbench.errors import UserError

    wanted = [f"--{name}" for name, value in given.items() if value]
    if wanted:
        raise UserError(
            f"A pattern, --jobs or --out gives one row a model, which has no place for {', '.join(wanted)}. Name "
            "single models, without --jobs and --out."
        )


def _parse_splits(text: str | None) -> tuple[str, ...]:
    from vtbench.errors import UserError, did_you_mean

    splits = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for split in splits:
        if split not in _SPLITS:
            raise UserError(f"--by knows no split named {split!r}. {did_you_mean(split, _SPLITS)}")
    return splits


def _resolve(
    name: str,
    size: tuple[int, int] | None,
    channels: int | None,
    num_classes: int | None,
    inputs: tuple[InputSpec, ...],
) -> Source:
    from contextlib import nullcontext
    from dataclasses import replace

    from vtbench.cli.commands import quick_import
    from vtbench.profiling.sources import resolve_source

    is_registered = not name.startswith(("timm:", "torchvision:")) and ".py:" not in name
    with quick_import() if is_registered else nullcontext():
        if is_registered:
            import vtbench.models  # noqa: F401  # Makes its families known.
        source = resolve_source(name, image_size=size, channels=channels, num_classes=num_classes)
    return replace(source, inputs=inputs) if inputs else source
