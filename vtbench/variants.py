"""A model variant and its one spelling: ``vt_resnet34:tokenizer=static,num_tokens=8``.

The spelling is the same on the command line, in study files and in tables. It is canonical: options stand in the order
in which the model declares them, and an option at its default is left out, so equal variants have equal spellings.

Networks of others are spelt ``timm:NAME``, ``torchvision:NAME`` and ``FILE.py:CALLABLE``, their options behind a comma:
``timm:vit_tiny_patch16_224,img_size=32,patch_size=4``. What is allowed is theirs to say; see `ForeignOptions`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import ConfigDict, model_validator

from vtbench.catalog import Look
from vtbench.errors import UserError, find_nearest
from vtbench.mistakes import read_count, read_whole
from vtbench.plugins import PLUGINS
from vtbench.registry import Registry
from vtbench.written import Configuration, validate_configuration

if TYPE_CHECKING:
    from torch import nn


class ModelOptions(Configuration):
    """What a family of models lets its user choose: a field is an option; each preset holds one instance, its defaults.

    Fields are ``Literal[...]``, ``int``, ``float`` or ``str``; users are shown the text of ``Field(description=...)``.
    """

    model_config = ConfigDict(validate_default=True)

    @classmethod
    def list_implied(cls) -> dict[str, dict[str, str]]:
        """What other options stand at with a value of one, by its spelling, such as ``form=paper``."""
        return {}


class ForeignOptions(ModelOptions):
    """Keywords for a model that others wrote, each in its one spelling, in alphabetical order.

    ``true``, ``false`` and ``none``, numbers, numbers joined by ``+`` for a tuple, and any other text.
    """

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _spell_values(cls, given: Mapping[str, Any]) -> dict[str, str]:
        return {name: write_value(read_value(given[name])) for name in sorted(given)}

    def read(self) -> dict[str, Any]:
        """The values as Python has them."""
        return {name: read_value(value) for name, value in self.model_dump().items()}


class Setting(TypedDict):
    """What a cost is quoted for: images of ``image_size`` (height, width) in pixels, and so many classes."""

    image_size: tuple[int, int]
    num_classes: int


IMAGENET = Setting(image_size=(224, 224), num_classes=1000)
SMALL_IMAGES = Setting(image_size=(32, 32), num_classes=10)
_SIGNS_OF_PATTERNS = frozenset("*?[")


@dataclass(frozen=True)
class ModelSpec:
    """One registered model: how it is built and what it is.

    ``build(options, num_classes=..., image_size=(height, width))`` returns a ``torch.nn.Module``. ``image_size`` and
    ``num_classes`` are the setting in which its cost is quoted. ``twin`` names the convolutional model that it is
    compared with. ``source`` is the paper and section. ``task`` names an entry of `vtbench.tasks.TASKS`. ``look`` is
    the family's in figures; None: none of its own. A model that ``is_foreign`` was not written for this house: it comes
    from a library or a user's file. ``package`` is the plug-in that registered it, None for vtbench.
    """

    name: str
    build: Callable[..., Any]
    options: ModelOptions
    image_size: tuple[int, int]
    num_classes: int
    source: str
    family: str
    twin: str | None = None
    task: str = "classification"
    look: Look | None = None
    is_foreign: bool = False
    package: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this house answers for it: by closed forms of all its MACs, and weights drawn part by part."""
        return self.package is None and not self.is_foreign

    def resolve_options(self, given: Mapping[str, Any]) -> ModelOptions:
        """Validate ``given`` over the defaults of this preset. Raises ``UserError`` for an unknown option or value."""
        values = {**self.options.model_dump(), **given}
        return validate_configuration(type(self.options), values, source=f"The model {self.name!r}", noun="option")

    def spell(self, options: ModelOptions) -> str:
        """The canonical spelling of this model with ``options``."""
        defaults = self.options.model_dump()
        changed = {key: value for key, value in options.model_dump().items() if value != defaults.get(key)}
        return spell_variant(self.name, changed)


MODELS: Registry[ModelSpec] = Registry("model")
"""Every registered model. ``vtbench.models`` fills it when imported."""

Kind = Literal["timm", "torchvision", "file"]
LIBRARIES = ("timm", "torchvision")
"""Those whose models are spelt by their name behind that of the library."""

FOREIGN_MODELS: Registry[Callable[[str], ModelSpec]] = Registry("source of models")
"""What makes a `ModelSpec` of a name such as ``timm:NAME``, by its `Kind`. ``vtbench.models`` fills it."""


def register_model(
    name: str,
    build: Callable[..., Any],
    options: ModelOptions,
    *,
    family: str,
    source: str,
    twin: str | None = None,
    look: Look | None = None,
    setting: Setting = IMAGENET,
    task: str = "classification",
    package: str | None = None,
) -> None:
    """Enter one model in `MODELS`. Raises ``ValueError`` if the name is taken.

    ``build`` and ``options`` are those of `ModelSpec`. ``family`` is any word; models of one family share a colour and
    mark in figures, those of ``look``. ``source`` is what readers are told of where the model comes from: a paper and
    section, or "ours". ``setting``, `IMAGENET` or `SMALL_IMAGES`, is what its cost is quoted for. ``twin`` names the
    model that it is compared with. A network of the task "segmentation" gives scores (B, num_classes, h, w).
    ``package`` is the package that registers it, and found out where that is a plug-in.
    """
    of = {"family": family, "source": source, "twin": twin, "look": look, "task": task}
    spec = ModelSpec(name, build, options, **setting, **of, package=package or PLUGINS.loading)  # type: ignore[arg-type]
    MODELS.add(name, spec)


def create_model(
    name: str, *, num_classes: int | None = None, image_size: int | tuple[int, int] | None = None, **options: Any
) -> nn.Module:
    """Build the model ``name`` with ``options``; ``name`` may carry options in its spelling, too.

    ``image_size`` is a side or (height, width) in pixels; without it, and without ``num_classes``, the preset's own are
    taken. The weights are drawn from torch's global generator. Raises ``UserError`` for an unknown model or option, for
    values that the model refuses, and for an option given twice.

    >>> import torch, vtbench
    >>> model = vtbench.create_model("vt_resnet20:num_tokens=8", num_classes=5)
    >>> model(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 5])
    """
    if not isinstance(name, str):
        raise UserError(f"The name of a model is {name!r}. Give a text, such as 'vt_resnet20:num_tokens=8'.")
    bare_name, spelled = split_variant(name)
    spec = find_model(bare_name)
    for option in spelled.keys() & options.keys():
        raise UserError(f"{name!r} sets the option {option!r}, and so does the call. Keep one of them.")
    for option in options.keys() - type(spec.options).model_fields.keys():
        near = find_nearest(option, (*_ARGUMENTS, *type(spec.options).model_fields))
        if near in _ARGUMENTS and not isinstance(spec.options, ForeignOptions):
            raise UserError(f"The model {bare_name!r}: unknown option {option!r}. Did you mean {near!r}?")
    resolved = spec.resolve_options({**spelled, **options})
    size = spec.image_size if image_size is None else image_size
    sides = size if read_whole(size) is None else (size, size)
    if not isinstance(sides, tuple | list) or len(sides) != 2:
        raise UserError(f"{bare_name}: image_size is {size!r}. Give a side or (height, width) in pixels.")
    height, width = (read_count(f"{bare_name}: a side of image_size", side) for side in sides)
    classes = spec.num_classes if num_classes is None else read_count(f"{bare_name}: num_classes", num_classes)
    model: nn.Module = spec.build(resolved, num_classes=classes, image_size=(height, width))
    return model


def find_model(name: str) -> ModelSpec:
    """The model of that name, without options. Raises ``UserError`` for an unknown one.

    Models must have been registered, by importing ``vtbench.models``.
    """
    kind = find_kind(name)
    if kind is not None:
        return FOREIGN_MODELS[kind](name)
    if name.endswith(".py"):
        raise UserError(f"{name!r} names a file but no model in it. Write {name}:CALLABLE.")
    return MODELS[name]


def is_pattern(text: str) -> bool:
    """Whether ``text`` may stand for several models."""
    return not _SIGNS_OF_PATTERNS.isdisjoint(text)


def select_names(text: str, names: Iterable[str]) -> list[str]:
    """The one of ``names`` that is ``text``; else those that have it in them or, of a pattern, are like it.

    >>> [select_names(text, ("resnet20", "vt_resnet20")) for text in ("resnet20", "net2", "vt_*")]
    [['resnet20'], ['resnet20', 'vt_resnet20'], ['vt_resnet20']]
    """
    known = list(names)
    if text in known:
        return [text]
    return [name for name in known if (fnmatchcase(name, text) if is_pattern(text) else text in name)]


def find_kind(name: str) -> Kind | None:
    """Where a model that is not registered comes from; None for any other name."""
    kind = name.partition(":")[0]
    if ":" in name and kind in LIBRARIES:
        return kind  # type: ignore[return-value]
    return "file" if _FILE.fullmatch(name) else None


def split_variant(text: str) -> tuple[str, dict[str, str]]:
    """Split ``"name:option=value,option=value"`` into the name and the options as written, in the order written.

    Raises ``UserError`` when the text is not of that form or names an option twice.

    >>> split_variant("nets/wide.py:build,depth=3")
    ('nets/wide.py:build', {'depth': '3'})
    """
    if (foreign := _FOREIGN.fullmatch(text.strip())) is not None:
        return foreign[1], split_options(text, foreign[2] or "", noun="option", example=_FOREIGN_EXAMPLE)
    if (slip := _SLIP.fullmatch(text.strip())) is not None:
        library, name, keywords, ours, options = slip.groups()
        meant = f"{library}:{name}{keywords or ''}" if library else f"{ours}:{options}"
        raise UserError(f"{text!r} is not a model. Did you mean {meant!r}?")
    name, colon, tail = text.strip().partition(":")
    if not name or (colon and not tail.strip()):
        raise UserError(f"{text!r} is not a model. Write NAME or NAME:option=value,option=value, e.g. {_EXAMPLE}.")
    if "=" not in tail.partition(",")[0] and (library := find_nearest(name, _LIBRARIES)) is not None and colon:
        raise UserError(f"{text!r} is not a model. Did you mean {f'{library}:{tail}'!r}?")
    return name, split_options(text, tail, noun="option", example=_EXAMPLE)


def split_options(text: str, tail: str, *, noun: str, example: str) -> dict[str, str]:
    """The choices ``option=value,option=value`` in the ``tail`` of ``text``, as written. Raises ``UserError``."""
    options: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in tail.split(","))):
        option, equals, value = (piece.strip() for piece in part.partition("="))
        if not (option and equals and value):
            raise UserError(f"{part!r} in {text!r} is not {noun}=value. Write for example {example}.")
        if option in options:
            raise UserError(f"{text!r} names the {noun} {option!r} twice. Keep one of them.")
        options[option] = value
    return options


def spell_variant(name: str, options: Mapping[str, Any]) -> str:
    """Join a name and options to a spelling; the inverse of `split_variant`."""
    if not options:
        return name
    return (
        f"{name}{',' if find_kind(name) else ':'}{','.join(f'{option}={value}' for option, value in options.items())}"
    )


def leave_folder_out(text: str) -> str:
    """The spelling without the folder of a user's file; any other as it is.

    >>> leave_folder_out("nets/wide.py:build,depth=3")
    'wide.py:build,depth=3'
    """
    name, options = split_variant(text)
    return spell_variant(Path(name).name, options) if find_kind(name) == "file" else text


def read_value(text: Any) -> Any:
    """What the value of a foreign option stands for: see `ForeignOptions`. What is no text stays as it is.

    >>> [read_value(text) for text in ("8", "1e-3", "True", "none", "2+2+6", "gelu")]
    [8, 0.001, True, None, (2, 2, 6), 'gelu']
    """
    if not isinstance(text, str):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if (number := _read_number(text)) is not None:
        return number
    parts = tuple(_read_number(part) for part in text.split("+"))
    return text if None in parts else parts


def write_value(value: Any) -> str:
    """The one spelling of a value that `read_value` reads. Raises ``ValueError`` for what has none."""
    if isinstance(value, tuple | list):
        return "+".join(map(write_value, value))
    for word, meaning in _WORDS.items():
        if value is meaning:
            return word
    if not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} cannot be spelt: an option is a number, a text, true, false, none or 2+2+6")
    return str(value)


def _read_number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            number: int | float = kind(text)
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    return None


def canonical_spelling(text: str) -> str:
    """The one spelling of the variant that ``text`` names. Needs the models to be registered.

    >>> import vtbench.models
    >>> canonical_spelling("vt_resnet20:num_tokens=8, tokenizer=static, width=16")
    'vt_resnet20:tokenizer=static,num_tokens=8'
    """
    name, given = split_variant(text)
    spec = find_model(name)
    return spec.spell(spec.resolve_options(given))


_ARGUMENTS = ("num_classes", "image_size")
"""What `create_model` takes beside the options of a model."""
_LIBRARIES = ("timm", "torchvision")
_FILE = re.compile(r".+\.py:\w+")
_FOREIGN = re.compile(r"((?:timm|torchvision):[^,]+|.+\.py:\w+)(?:,(.*))?")
_SLIP = re.compile(r"(timm|torchvision)[/.]([^,:]+)(,.+)?|([a-z]\w*),(\w+=.+)")
"""A library's name with another sign than a colon behind it; options of ours behind a comma."""
_FOREIGN_EXAMPLE = "timm:vit_tiny_patch16_224,img_size=32,patch_size=4"
_WORDS = {"true": True, "false": False, "none": None}
_EXAMPLE = "vt_resnet34:tokenizer=static,num_tokens=8"
