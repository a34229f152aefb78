"""Where a model comes from: a registered name, ``timm:NAME``, ``torchvision:NAME`` or ``path/to/file.py:callable``.

Options stand behind the name as in `vtbench.variants`; those of foreign models go to what builds them, by keyword.

Nothing of timm, torchvision or a user's file is imported unless a spelling asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vtbench.errors import UserError, did_you_mean
from vtbench.input_shapes import InputSpec
from vtbench.profiling.building import build_light
from vtbench.profiling.errors import ProfileError, summarize_exception
from vtbench.profiling.inputs import DEFAULT_SIZE
from vtbench.profiling.offline import refused_connections
from vtbench.profiling.subject import Subject, copy_to_meta, kept_randomness
from vtbench.profiling.walking import list_tensors
from vtbench.variants import MODELS, ForeignOptions, find_kind, spell_variant, split_variant

_NOT_SPELT = ("num_classes", "pretrained", "checkpoint_path", "pretrained_cfg", "weights", "weights_backbone")
"""Keywords of libraries that have their place elsewhere."""


@dataclass(frozen=True)
class Source:
    """A model that can be built: its canonical spelling, how, and the image size (height, width) it is quoted at.

    ``registered`` models must explain every MAC by a closed form. ``inputs`` are what it takes where that is not one
    image.
    """

    spelling: str
    build: Callable[[], nn.Module]
    image_size: tuple[int, int]
    channels: int = 3
    registered: bool = False
    inputs: tuple[InputSpec, ...] = ()

    def plan_inputs(self, batch_size: int) -> tuple[Any, ...]:
        """What to give the model: the shape (B, C, H, W) of images, or `InputSpec`s of a batch."""
        if self.inputs:
            return tuple(spec.repeat(batch_size) for spec in self.inputs)
        return (batch_size, self.channels, *self.image_size)


def resolve_source(
    text: str, *, image_size: tuple[int, int] | None = None, channels: int | None = None, num_classes: int | None = None
) -> Source:
    """Find the model that ``text`` names. ``None`` takes what the model is quoted with.

    Registered models must have been registered, by importing ``vtbench.models``. Raises ``UserError`` for a name or
    file that is not there.
    """
    name, given = split_variant(text)
    kind = find_kind(name)
    if kind is None:
        if name.endswith(".py"):
            raise UserError(f"{text!r} names a file but no model in it. Write {name}:CALLABLE.")
        return _find_registered(name, given, image_size, channels, num_classes)
    options = ForeignOptions.model_validate(given)
    spelling, keywords = spell_variant(name, options.model_dump()), options.read()
    if kind == "file":
        return _find_in_file(spelling, name, keywords, image_size, channels, num_classes)
    for option in keywords:
        if option in _NOT_SPELT:
            raise UserError(
                f"{spelling!r} sets {option!r}, which is no option here: how many classes there are, the data say (or "
                "--num-classes), and weights to start from are given with --init."
            )
    find = _find_timm if kind == "timm" else _find_torchvision
    return find(spelling, name.partition(":")[2], keywords, image_size, channels, num_classes)


def build_network(source: Source) -> nn.Module:
    """Build the model in full, with weights. Raises `ProfileError` if that fails or wants to download."""
    with refused_connections() as hosts:
        try:
            return _check_module(source, source.build())
        except UserError:
            raise
        except Exception as error:
            raise ProfileError(f"{source.spelling}: {_explain_build_failure(error, hosts)}") from error


def make_subject(source: Source) -> Subject:
    """Build the model without its weights.

    Layers are made on the meta device; a model that computes with values while it is built gets only its parameters
    there, and one that needs even those is built in full and copied. Raises `ProfileError` if it cannot be built.
    """

    def build_real() -> nn.Module:
        with refused_connections():
            return _check_module(source, source.build())

    with kept_randomness(), refused_connections() as hosts:
        try:
            model = build_light(lambda: _check_module(source, source.build()))
            if any(not tensor.is_meta for tensor in list_tensors(model)):
                model = copy_to_meta(model)
        except UserError:
            raise
        except Exception as error:
            raise ProfileError(f"{source.spelling}: {_explain_build_failure(error, hosts)}") from error
    return Subject(source.spelling, model, model, build_real)


def _explain_build_failure(error: Exception, hosts: Sequence[str]) -> str:
    if hosts:
        return (
            f"building it wants to download from {hosts[0]}, and nothing is downloaded to count. Build it without "
            "trained weights (pretrained=False; weights=None and weights_backbone=None), or from files of this machine."
        )
    mend = ""
    if isinstance(error, ModuleNotFoundError):
        mend = f" Install {error.name}, or put it beside the file."
    elif isinstance(error, FileNotFoundError):
        mend = " A relative path begins at the folder that the command is called in."
    elif isinstance(error, TypeError) and (unknown := re.search(r"unexpected keyword argument '(\w+)'", str(error))):
        mend = f" It takes no option {unknown[1]!r}: take that out of the spelling."
    elif isinstance(error, TypeError) and "required" in str(error):
        mend = " Name a function or a class that needs no arguments."
    return f"the model cannot be built: {summarize_exception(error)}.{mend}"


def _check_module(source: Source, model: Any) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise UserError(
            f"{source.spelling} gave a {type(model).__name__}, and a torch.nn.Module is needed. "
            "Name a function without required arguments, or a class, that returns one."
        )
    return model


def _find_registered(
    name: str,
    given: Mapping[str, str],
    image_size: tuple[int, int] | None,
    channels: int | None,
    num_classes: int | None,
) -> Source:
    spec = MODELS[name]
    options = spec.resolve_options(given)
    size = image_size or spec.image_size
    classes = num_classes or spec.num_classes
    return Source(
        spec.spell(options),
        lambda: spec.build(options, num_classes=classes, image_size=size),
        size,
        channels or 3,
        registered=spec.is_ours,
    )


def _find_timm(
    spelling: str,
    name: str,
    keywords: Mapping[str, Any],
    image_size: tuple[int, int] | None,
    channels: int | None,
    num_classes: int | None,
) -> Source:
    try:
        import timm
    except ImportError:
        raise UserError(f"'timm:{name}' needs timm, which is not installed: pip install 'vtbench[timm]'.") from None
    if not timm.is_model(name):
        raise UserError(f"timm has no model named {name!r}. {did_you_mean(name, timm.list_models())}")
    settings = timm.get_pretrained_cfg(name)
    quoted = tuple(settings.input_size) if settings is not None else (3, *DEFAULT_SIZE)
    options: dict[str, Any] = {"pretrained": False}
    if num_classes is not None:
        options["num_classes"] = num_classes
    if channels is not None and channels != quoted[0]:
        options["in_chans"] = channels
    if image_size is not None and settings is not None and settings.fixed_input_size:
        options["img_size"] = image_size
    size = image_size or _read_side(keywords.get("img_size")) or (quoted[1], quoted[2])
    return Source(spelling, lambda: timm.create_model(name, **{**options, **keywords}), size, channels or quoted[0])


def _read_side(side: Any) -> tuple[int, int] | None:
    """Height and width that an option of the spelling asks for, if it does."""
    if isinstance(side, tuple) and len(side) == 2:
        return int(side[0]), int(side[1])
    return (side, side) if isinstance(side, int) else None


def _find_torchvision(
    spelling: str,
    name: str,
    keywords: Mapping[str, Any],
    image_size: tuple[int, int] | None,
    channels: int | None,
    num_classes: int | None,
) -> Source:
    from vtbench.profiling import sources_torchvision

    builder = sources_torchvision.find_builder(name)
    options = sources_torchvision.list_options(builder, name, num_classes, image_size)
    side = _read_side(keywords.get("image_size", keywords.get("input_size")))
    size = image_size or side or sources_torchvision.find_quoted_size(builder, name)
    return Source(
        spelling,
        lambda: builder(**{**options, **keywords}),
        size,
        channels or 3,
        inputs=sources_torchvision.list_inputs(builder, (channels or 3, *size)),
    )


def _find_in_file(
    spelling: str,
    name: str,
    keywords: Mapping[str, Any],
    image_size: tuple[int, int] | None,
    channels: int | None,
    num_classes: int | None,
) -> Source:
    path, _, called = name.rpartition(":")
    told = {"num_classes": num_classes, "image_size": image_size}

    def build() -> nn.Module:
        from vtbench.profiling.sources_file import run_user_file

        with run_user_file(Path(path)) as file:
            return file.call(called, keywords, told)  # type: ignore[no-any-return]

    return Source(spelling, build, image_size or DEFAULT_SIZE, channels or 3)
