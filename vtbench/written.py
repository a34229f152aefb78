"""Base of everything that is written down and validated: frozen, and a mistake in it is told in the user's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
)
from pydantic_core import PydanticKnownError, from_json

from vtbench.errors import UserError
from vtbench.files import read_file
from vtbench.mistakes import LARGEST_NUMBER, explain_problems

_COMPARING = object()  # The context in which notes are left out.


class Written(BaseModel):
    """Base of what is written down: frozen; an unknown key is an error, and so are infinity and NaN.

    ``LATER`` names fields that came after files had been written: they are written only where they differ from their
    default. ``NOTES`` names fields that tell how the others came to be: they make no difference between two.
    ``EARLIER_KEY`` is the key, as JSON spells it, that text of an earlier format has, if there was one; see `upgrade`.
    """

    LATER: ClassVar[frozenset[str]] = frozenset()
    NOTES: ClassVar[frozenset[str]] = frozenset()
    EARLIER_KEY: ClassVar[bytes | None] = None
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def __eq__(self, other: object) -> bool:
        """Whether both are of one kind and say the same, however that came to be."""
        if not self.NOTES or type(self) is not type(other):
            return super().__eq__(other)
        told = _tell(type(self))
        return bool(told(self.__dict__) == told(other.__dict__))

    def __hash__(self) -> int:
        return hash(_tell(type(self))(self.__dict__))

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Read JSON, also of an earlier format. Raises pydantic's ``ValidationError``.

        What is of today's format is never made into Python's dictionaries first, which would take twice as long.
        """
        if cls.EARLIER_KEY is not None and cls.EARLIER_KEY in text:
            plain: Any = None
            with suppress(ValueError):  # Text that is no JSON is refused below.
                plain = from_json(text)
            if (upgraded := cls.upgrade(plain)) is not plain:
                return cls.model_validate(upgraded)
        return cls.model_validate_json(text)

    @classmethod
    def upgrade(cls, plain: Any) -> Any:
        """Today's fields of the values that an earlier format held; others come back as they are."""
        return plain

    @model_serializer(mode="wrap")
    def _leave_out(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        if info.context is _COMPARING:
            return {name: value for name, value in values.items() if name not in self.NOTES}
        for name, default in _list_later(type(self)):
            if name in values and getattr(self, name) == default:
                del values[name]
        return values


@cache
def _tell(kind: type[Written]) -> Callable[[Mapping[str, Any]], Any]:
    """What picks the values of all fields but the notes."""
    names = [name for name in kind.model_fields if name not in kind.NOTES]
    return itemgetter(*names) if names else lambda _: ()


@cache
def _list_later(kind: type[Written]) -> list[tuple[str, Any]]:
    """The fields that came later, and what stands in them by default."""
    return [(name, kind.model_fields[name].get_default(call_default_factory=True)) for name in kind.LATER]


class Configuration(Written):
    """Base of all configurations. Whole numbers have an end, so that none sizes what no machine holds."""

    @field_validator("*")
    @classmethod
    def _bound_whole_numbers(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            raise PydanticKnownError("less_than_equal", {"le": LARGEST_NUMBER})
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: Any, info: ValidationInfo) -> Any:
        """Pydantic takes true for 1."""
        if not isinstance(value, bool | list | tuple):
            return value
        values = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(one, bool) for one in values) and info.field_name is not None:
            kinds = _list_kinds(cls.model_fields[info.field_name].annotation)
            if kinds & {int, float} and not kinds & {bool, Any}:
                raise PydanticKnownError("float_type" if float in kinds else "int_type")
        return value


def _list_kinds(annotation: Any) -> set[Any]:
    """What a field takes, parts of tuples and of unions included."""
    parts = get_args(annotation)[: 1 if get_origin(annotation) is Annotated else None]
    return set().union(*map(_list_kinds, parts)) if parts else {annotation}


C = TypeVar("C", bound=Configuration)


def validate_configuration(
    kind: type[C], values: Mapping[str, Any], *, source: str, noun: str = "key", spell: Callable[[str], str] = repr
) -> C:
    """Build a ``kind`` from ``values``; a mistake becomes a ``UserError`` naming ``source``, if any, and the key.

    ``spell`` says how the user writes a key.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        reasons = explain_problems(kind, error.errors(), noun, spell)
        start = f"{source}: " if source else ""
        raise UserError(f"{start}{reasons if reasons.endswith('?') else f'{reasons}.'}") from error


def read_toml(path: Path, noun: str) -> dict[str, Any]:
    """The values in the TOML file ``path``. Raises ``UserError`` if it is no such file; ``noun`` says what it holds."""
    import tomllib

    try:
        return tomllib.loads(read_file(path).decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"Cannot read the {noun} {path}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"The {noun} {path} is not TOML: {error}.") from error
    except RecursionError:
        raise UserError(f"The {noun} {path} is nested too deeply. Write its values without so many brackets.") from None


def list_differences(before: BaseModel, now: BaseModel, *, exclude: Any = None) -> list[tuple[str, Any, Any]]:
    """Where two settings or records differ, as declared: dotted key, value of the first, value of the second.

    What only one of them has is None in the other; notes make no difference. ``exclude`` names fields as pydantic's
    ``model_dump`` takes them.
    """
    first, second = (
        dict(_flatten(one.model_dump(mode="json", exclude=exclude, context=_COMPARING))) for one in (before, now)
    )
    keys = dict.fromkeys((*first, *second))
    return [(key, first.get(key), second.get(key)) for key in keys if first.get(key) != second.get(key)]


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
