"""``vtbench tokens``: where the visual tokens of a network look, as figures and numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtbench.cli.commands import ManyValuesCommand
from vtbench.cli.completion import complete_datasets, complete_models
from vtbench.cli.loudness import tell, warn
from vtbench.cli.options import Device, Json, check_folder
from vtbench.cli.overwriting import Overwrite, refuse_replacing, says

if TYPE_CHECKING:
    from vtbench.datasets.shown_images import ShownImage
    from vtbench.tokens.survey import Subject

COMMAND = ManyValuesCommand
_MOST = 2**31 - 1
NEEDS = {
    "mask": ("image",),
    "data": ("index",),
    "split": ("index",),
    "seed": ("model",),
    **dict.fromkeys(("foreground", "leave-out"), ("mask", "index")),
}


def run_tokens(
    run: Annotated[Path | None, typer.Argument(help="Folder of a finished run.")] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Instead of RUN, untrained: NAME[:option=value,...], timm:NAME[,...], torchvision:NAME[,...] or "
            "FILE.py:CALLABLE[,...], which runs that file's code.",
            autocompletion=complete_models,
        ),
    ] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Image files, one or more.")] = None,
    mask: Annotated[list[Path] | None, typer.Option(help="Files of per-pixel class ids, one an image.")] = None,
    index: Annotated[list[int] | None, typer.Option(help="Numbers of images in --data.", min=0, max=_MOST)] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set of --index, as --data of train takes it; else the run's own.",
            autocompletion=complete_datasets,
        ),
    ] = None,
    split: Annotated[Literal["train", "val"], typer.Option(help="Split of --data.")] = "val",
    module: Annotated[
        list[int] | None, typer.Option(help="Modules to look at, from 0; else all.", min=0, max=_MOST)
    ] = None,
    head: Annotated[
        list[int] | None,
        typer.Option(help="Heads of attention that is no visual tokens', from 0; else their mean.", min=0, max=_MOST),
    ] = None,
    look: Annotated[
        Literal["class-token", "received"] | None,
        typer.Option(help="Of such attention: the class token's, or what places receive on average."),
    ] = None,
    foreground: Annotated[
        list[int] | None, typer.Option(help="Class ids of foreground; else all but 0.", min=0, max=_MOST)
    ] = None,
    leave_out: Annotated[
        list[int] | None, typer.Option(help="Class ids that count as neither.", min=0, max=_MOST)
    ] = None,
    image_size: Annotated[str | None, typer.Option(help="Side or HEIGHTxWIDTH in pixels; else the run's.")] = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, max=_MOST, help="Weights of --model.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder.  [default: RUN/tokens or runs/tokens-MODEL]", callback=check_folder),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw where each visual token of a network looks in images.

    Beside its attention over the image stands its reach after the tokens are mixed. Of other networks with attention
    (timm, torchvision, files) every block is shown: the look of its class token, or without one the attention that each
    place receives. Options that take several values take all that follow: --image a.png b.png. Entropies are in nats.
    Masks (those of scenes, of data for segmentation, or --mask) give the attention on foreground against background.
    """
    from vtbench.cli.commands import quick_import
    from vtbench.cli.first_checks import check_attention, check_data, check_files, check_variants
    from vtbench.cli.waiting import tell_waiting
    from vtbench.errors import UserError
    from vtbench.files import check_writable, refuse_link
    from vtbench.input_shapes import parse_image_size
    from vtbench.training.folder import find_finished
    from vtbench.units import format_items

    if (run is None) == (model is None):
        raise UserError("Whose tokens? Give either the folder of a finished run, or --model NAME for an untrained one.")
    if bool(image) == bool(index):
        raise UserError("Which images? Give either --image FILE..., or --index N... of the data set that --data names.")
    if model is not None:
        check_variants(model)
        variant = model
    else:
        variant = find_finished(run or Path()).config.variant
    check_attention(variant, asks_of_heads=bool(head) or look is not None)
    if index and model is not None and data is None:
        raise UserError(
            "--index needs --data here: an untrained model has no data set of its own. Write --data scenes."
        )
    if image_size is not None:
        parse_image_size(image_size)
    check_files("image", image or ())
    check_files("mask", mask or ())
    if data is not None:
        check_data(data, look=True)
    with tell_waiting("loading torch and the models"), quick_import():
        from vtbench.datasets.shown_images import read_files
        from vtbench.documents.terminal import open_console
        from vtbench.environment import resolve_device
        from vtbench.records import to_json
        from vtbench.records.tokens import TokensRecord
        from vtbench.reporting.terminal import print_tokens
        from vtbench.reporting.token_report import TOKENS, write_tokens
        from vtbench.tokens.attention import Wish
        from vtbench.tokens.survey import open_model, open_run, survey_tokens

    place = resolve_device(device)
    with tell_waiting("reading the images"):
        subject = open_model(model, image_size, seed=seed) if model is not None else open_run(run or Path(), image_size)
        shown = (
            read_files(image, mask or [], subject.image_size, whole=subject.sees_whole, white=subject.white)
            if image
            else _read_rows(subject, data, split, index or [])
        )
    _warn_of_classes(shown, foreground or [])
    folder = out or subject.default_folder
    if out is None:
        refuse_link(folder)
    if not overwrite:
        is_same = says(TokensRecord, variant=subject.variant, weights_sha256=subject.weights_sha256)
        refuse_replacing(folder, [TOKENS], is_same, of=f"{subject.variant} with these weights")
    with tell_waiting(f"looking at {format_items(len(shown), 'image')} and drawing"):
        wish = Wish(tuple(head or ()), look)
        survey = survey_tokens(
            subject,
            shown,
            only=module or [],
            wish=wish,
            foreground=foreground or [],
            left_out=leave_out or [],
            device=place,
        )
        check_writable(folder)
        written = write_tokens(survey.record, survey.images, folder)
    if as_json:
        typer.echo(to_json(survey.record), nl=False)
    else:
        print_tokens(survey.record, open_console())
    figures = format_items(sum(path.suffix == ".png" for path in written), "figure")
    tell(
        f"Tokens: {folder} (tokens.json, tokens.csv, maps.safetensors and {figures} as PNG and SVG)",
    )


def _warn_of_classes(shown: "list[ShownImage]", foreground: list[int]) -> None:
    """Say that no image has any foreground, where that follows from what was asked for."""
    seen = {int(number) for image in shown if image.classes is not None for number in set(image.classes.flat)}
    if foreground and seen.isdisjoint(foreground):
        known = ", ".join(str(number) for number in sorted(seen) if number >= 0)
        warn(f"--foreground {' '.join(map(str, foreground))}: no mask of these images has it, which have {known}.")


def _read_rows(
    subject: "Subject", data: str | None, split: Literal["train", "val"], index: list[int]
) -> "list[ShownImage]":
    from vtbench.datasets.shown_images import read_rows

    spec = data or subject.own_data
    assert spec is not None, "without a run there is --data"
    return read_rows(spec, split, index, subject.image_size, whole=subject.sees_whole)
