"""A command whose list options take every value that follows: ``--image a.png b.png`` as shells write ``*.png``."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class ManyValuesCommand(TyperCommand):
    """Reads ``--image a b --out c`` as ``--image a --image b --out c``. An argument comes before such an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the name of a list option before each of its values."""
        lists = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        spelt: list[str] = []
        values_of: str | None = None
        for place, argument in enumerate([*args, "--"]):
            if argument.startswith("-") and not argument[1:2].isdigit():
                if values_of is not None and spelt[-1] == values_of:
                    ctx.fail(f"Option '{values_of}' needs one value or more.")
                if argument == "--":
                    spelt += args[place:]
                    break
                values_of = argument if argument in lists else None
                spelt.append(argument)
            elif values_of is not None and spelt[-1] != values_of:
                spelt += [values_of, argument]
            else:
                spelt.append(argument)
        return super().parse_args(ctx, spelt)
