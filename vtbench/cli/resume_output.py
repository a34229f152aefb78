"""What ``vtbench ablate --verify-resume`` prints: what came of killing cells, and what that proves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from vtbench.documents.terminal import open_console, print_text
from vtbench.errors import format_names
from vtbench.units import format_items

if TYPE_CHECKING:
    from vtbench.studies.verification import ResumeCheck


def list_verdicts(checks: Sequence[ResumeCheck]) -> list[dict[str, Any]]:
    """What came of killing each cell and whether that proves that it goes on to the same bits, as plain values."""
    return [
        {
            "arm": check.cell.arm,
            "variant": check.cell.config.variant,
            "kills": check.kills,
            "kills_while_saving": check.kills_while_saving,
            "sha256": check.digests,
            "different": list(check.different),
            "resumes": check.resumes,
            "proved": check.is_proved,
        }
        for check in checks
    ]


def print_verdict(checks: Sequence[ResumeCheck]) -> None:
    """What came of killing cells, what was left unproved, and what is proved of resuming."""
    console = open_console()
    for check in checks:
        config, execution = check.cell.config, check.cell.config.execution
        circumstances = f"{format_items(execution.threads or 1, 'thread')}, {execution.device}"
        print_text(f"\n{check.cell.arm} ({config.variant}), {circumstances}", console, style="bold")
        console.print(Text(_describe(check)))
        for name, digest in check.digests.items():
            print_text(f"  {digest[:16]}  {name}", console)
    style = "bold green" if all(check.is_proved for check in checks) else "bold red"
    print_text(f"\n{' '.join(_conclude(checks))}", console, style=style)


def _describe(check: ResumeCheck) -> str:
    verdict = f"DIFFERENT: {', '.join(check.different)}" if check.different else "identical, byte for byte"
    if check.resumes:
        return (
            f"killed {format_items(check.kills, 'time')}, {check.kills_while_saving} of these while it saved, "
            f"gone on from what was saved {format_items(check.resumes, 'time')}: {verdict}"
        )
    early, runs = f"{check.cell.arm} finished before it could be killed", "two undisturbed runs"
    if check.kills:
        early = f"{check.cell.arm} was killed {format_items(check.kills, 'time')}, but before it had saved anything"
        runs = "two runs from the first batch on"
    if check.different:
        return f"{early}, and {runs} are {verdict}"
    mend = (
        f"Longer runs ({', '.join(check.longer_by)}) give time to."
        if check.longer_by
        else "Try again: when it is killed is drawn anew, by how long the first run takes."
    )
    return f"{early}: nothing is proved of it. {mend}"


def _conclude(checks: Sequence[ResumeCheck]) -> Iterator[str]:
    """Sentences that claim no more than was tried."""

    def name(chosen: Iterator[ResumeCheck]) -> str:
        return format_names((check.cell.arm for check in chosen), most=None)

    if wrong := name(check for check in checks if check.different and check.resumes):
        yield f"Resume is NOT exact on this machine: {wrong}."
    if unsteady := name(check for check in checks if check.different and not check.resumes):
        yield f"Not the same twice on this machine, even where nothing was resumed: {unsteady}."
    if proved := name(check for check in checks if check.is_proved):
        yield f"Resume is exact on this machine, as far as was tried: {proved}."
    if not any(check.kills for check in checks):
        yield "Nothing is proved of resuming: no arm was killed."
    elif unproved := name(check for check in checks if not check.is_proved and not check.different):
        yield f"Nothing is proved of {unproved}."
