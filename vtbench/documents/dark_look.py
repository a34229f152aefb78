"""A figure that is read on light and on dark pages: one SVG whose colours change with what its reader asked for."""

from __future__ import annotations

import colorsys
import re

PAPER, INK = "#15171a", "#ececec"
"""Of dark pages: what stands for white, and the lightest letters."""
_COLOUR = re.compile(r"(fill|stroke): (#[0-9a-f]{6})")
_LEAST_CONTRAST = 4.5
"""Between two relative luminances, that of letters after WCAG 2.2."""
AS_IS = "as-is"
"""The identifier of a group whose colours mean something by themselves, such as those of a picture."""


def add_dark_look(svg: str) -> str:
    """``svg`` with a style sheet for readers who prefer dark pages; to all others it is what it was.

    Colours stay what they are for programs that know no such preference, on paper among them.
    """
    found = sorted(set(_COLOUR.findall(svg)))
    rules = "".join(
        f'[style*="{name}: {colour}"]:not([id^="{AS_IS}"]>*){{{name}:{darken(colour)}!important}}'
        for name, colour in found
    )
    sheet = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
    head, closing, rest = svg.partition("</metadata>\n")
    return f"{head}{closing} {sheet}\n{rest}" if closing else svg


def darken(colour: str) -> str:
    """What stands for ``colour`` on a dark page: greys change places, others are lightened until they are read.

    >>> [darken(colour) for colour in ("#ffffff", "#222222", "#d55e00")]
    ['#15171a', '#ececec', '#d55e00']
    """
    red, green, blue = _split(colour)
    if max(red, green, blue) - min(red, green, blue) < 0.03:
        share = min(1.0, (1 - red) / (1 - 0x22 / 255))
        return _join(*(paper + share * (ink - paper) for paper, ink in zip(_split(PAPER), _split(INK), strict=True)))
    hue, light, saturation = colorsys.rgb_to_hls(red, green, blue)
    while _measure_contrast(_join(*colorsys.hls_to_rgb(hue, light, saturation)), PAPER) < _LEAST_CONTRAST:
        light += 0.02
    return _join(*colorsys.hls_to_rgb(hue, light, saturation))


def _measure_contrast(first: str, second: str) -> float:
    lighter, darker = sorted((_measure_luminance(first), _measure_luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _measure_luminance(colour: str) -> float:
    parts = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in _split(colour))
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def _split(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def _join(*parts: float) -> str:
    return "#" + "".join(f"{round(255 * min(1.0, part)):02x}" for part in parts)
