"""Templates of pages: all text is escaped, and control characters are spelled out."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vtbench.documents.table import escape_controls

_MINUS = re.compile(r"(?<![\w.)])-(?=\d)")
_AFTER = re.compile(r"(?<=[,=])(?=.)|(?<=\w[-+_/])(?=\w)")


def render_template(name: str, **content: Any) -> str:
    """The page of a template under ``templates/``. Equal content gives equal text."""
    return _open_templates().get_template(name).render(**content)


@cache
def _open_templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("vtbench.reporting.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["breakable"] = allow_breaks
    templates.filters["minus"] = show_minus
    return templates


def allow_breaks(text: str) -> Markup:
    """The text, escaped, which may be broken after each ``,`` and ``=``, and between words after ``+ - _`` and ``/``.

    >>> allow_breaks("lr=0.1,<b>"), allow_breaks("static+position")
    (Markup('lr=<wbr>0.1,<wbr>&lt;b&gt;'), Markup('static+<wbr>position'))
    """
    return Markup("<wbr>").join(_AFTER.split(escape_controls(text)))


def show_minus(text: str) -> str:
    """The text with a true minus before its numbers, which is as wide as a plus.

    >>> show_minus("-7.74 ± 8.39"), show_minus("98 : 175")
    ('−7.74 ± 8.39', '98 : 175')
    """
    return _MINUS.sub("\u2212", text)


def _finalize(value: Any) -> Any:
    return escape_controls(value) if isinstance(value, str) and not isinstance(value, Markup) else value
