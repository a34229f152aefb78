"""Quantities and how they print. Raw integers live everywhere else; G, M and K are written only here."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def format_count(count: int, *, digits: int = 2) -> str:
    """Print a count with the largest decimal prefix that keeps it at 1 or more: ``1578954752 -> '1.58 G'``."""
    for size, prefix in _DECIMAL:
        if abs(count) >= size:
            return f"{count / size:.{digits}f} {prefix}"
    return str(count)


def format_items(number: int, one: str, many: str | None = None) -> str:
    """Print how many of something: ``(1, 'thread') -> '1 thread'``, ``(2, 'batch', 'batches') -> '2 batches'``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def format_millions(count: int, *, digits: int = 2) -> str:
    """Print a count in millions, thousands separated: ``1578954752 -> '1,578.95'``. Only nothing is 0: ``<0.01``."""
    return _MILLIONS.show(count, digits=digits)


@dataclass(frozen=True)
class Scale:
    """The one unit of all counts in a column: ``size`` of them are 1 ``prefix``."""

    size: float
    prefix: str

    def entitle(self, what: str) -> str:
        """The title of the column: ``MACs (M)``."""
        return f"{what} ({self.prefix})" if self.prefix else what

    def show(self, count: int, *, digits: int = 2) -> str:
        """A count without its unit; one that would be rounded to 0 and is not is said to be less than the least."""
        if not self.prefix:
            return f"{count:,}"
        if count > 0 and round(count / self.size, digits) == 0:
            return f"<{10**-digits:.{digits}f}"
        return f"{count / self.size:,.{digits}f}"

    def show_fine(self, count: int) -> str:
        """A count without its unit, with two digits that count at the least, so that small ones are told apart."""
        return f"{count:,}" if self.size == 1 else format_fine(count / self.size, digits=1)


_MILLIONS = Scale(1e6, "M")


def choose_scale(counts: Iterable[int]) -> Scale:
    """Millions, as readers of this field expect them, and where no count comes to a tenth of that, less.

    >>> [choose_scale(counts).entitle("MACs") for counts in ((2_000_000, 640), (64_000, 640), (64, 8))]
    ['MACs (M)', 'MACs (K)', 'MACs']
    """
    largest = max(counts, default=0)
    return _MILLIONS if largest >= 1e5 or largest == 0 else Scale(1e3, "K") if largest >= 1e3 else Scale(1, "")


def choose_byte_scale(sizes: Iterable[int]) -> Scale:
    """The binary unit of a column of sizes in bytes: the largest is 1 or more of it, and it is MiB at the most.

    >>> [choose_byte_scale(sizes).prefix for sizes in ((3 * 2**30, 640), (472_166, 640), (64, 8), ())]
    ['MiB', 'KiB', 'B', 'MiB']
    """
    largest = max(sizes, default=0)
    fitting = (Scale(size, prefix) for size, prefix in _BINARY[2:] if largest >= size)
    return next(fitting, Scale(1, "B")) if largest else Scale(2**20, "MiB")


def format_fine(value: float, *, digits: int) -> str:
    """Print what was measured with ``digits`` after the point, and with more where fewer than two would count.

    >>> [format_fine(value, digits=2) for value in (1234.5, 0.12, 0.00318, 0.0)]
    ['1,234.50', '0.12', '0.0032', '0.00']
    """
    if value and math.isfinite(value):
        digits = max(digits, 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def format_within(value: float, half_width: float, *, digits: int, sign: str = "") -> str:
    """Print a value as finely as it is known: ``digits`` are those where the half width of its interval is zero.

    What rounds to zero has no minus; ``sign`` is ``+`` where other numbers are to have a plus.

    >>> [format_within(71.4968, half_width, digits=2) for half_width in (12.3, 4.2042, 0.42, 0.0)]
    ['71 ± 12', '71.5 ± 4.2', '71.50 ± 0.42', '71.50 ± 0.00']
    """
    return f"{value:{sign}z.{_count_decimals(half_width, digits)}f} {format_half_width(half_width, digits=digits)}"


def format_half_width(half_width: float, *, digits: int) -> str:
    """Print the half width of an interval with two digits that count; one that is zero with ``digits`` decimals.

    >>> [format_half_width(half_width, digits=2) for half_width in (12.3, 9.96, 4.2042, 2e-9, 0.0)]
    ['± 12', '± 10', '± 4.2', '± 0.0000', '± 0.00']
    """
    return f"± {half_width:.{_count_decimals(half_width, digits)}f}"


def _count_decimals(half_width: float, digits: int) -> int:
    """How many decimals two digits that count take, which are two more than ``digits`` at the most."""
    if not half_width or not math.isfinite(half_width):
        return digits
    return min(digits + 2, max(0, 1 - int(f"{half_width:.1e}".partition("e")[2])))


def format_share(part: int, whole: int) -> str:
    """Print a share in percent that is 100 only where it is whole, and 0 only where it is nothing.

    >>> format_share(9999, 10000), format_share(1, 10000)
    ('99.9', '<0.1')
    """
    if part == whole:
        return "100"
    return "<0.1" if 0 < 100 * part / whole < 0.05 else f"{min(100 * part / whole, 99.9):.1f}"


def format_bytes(num_bytes: int, *, digits: int = 1) -> str:
    """Print a size in bytes with a binary prefix: ``1536 -> '1.5 KiB'``."""
    for size, prefix in _BINARY:
        if abs(num_bytes) >= size:
            return f"{num_bytes / size:.{digits}f} {prefix}"
    return f"{num_bytes} B"


def format_duration(seconds: float) -> str:
    """Print a duration in at most two units: ``3725 -> '1 h 02 min'``, ``65 -> '1 min 05 s'``, ``4.2 -> '4.2 s'``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"
