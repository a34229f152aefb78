"""Recipes are data: TOML files beside this module, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtbench.configuration import DataConfig, Recipe
from vtbench.errors import UserError
from vtbench.registry import Registry, UnknownNameError
from vtbench.settings import change_settings
from vtbench.written import list_differences, read_toml, validate_configuration

_FOLDER = Path(__file__).parent / "recipes"


RECIPES: Registry[Path] = Registry("recipe")
"""The files of recipes that have a name."""


def register_recipe(path: Path) -> None:
    """Name a recipe after its file, NAME.toml. Raises ``ValueError`` if the name is taken."""
    RECIPES.add(path.stem, path)


for _path in sorted(_FOLDER.glob("*.toml")):
    register_recipe(_path)


def list_recipes() -> tuple[str, ...]:
    """The names of the recipes that are known."""
    return tuple(sorted(RECIPES))


def load_recipe(
    name_or_path: str | Path,
    *,
    epochs: int | None = None,
    teacher: str | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    label_smoothing: float | None = None,
    clip: float | None = None,
    freeze: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Recipe:
    """Read a recipe by its name, or from a TOML file of the user; what else is given stands instead of the recipe's.

    ``settings`` are values by dotted keys such as ``recipe.optimizer.learning_rate``; those of the data are left out.
    The recipe notes in ``changed`` what else than epochs, teacher and frozen parameters is not as its file has it, and
    that none are frozen any more where some were; in ``file`` it notes a file of the user.

    Schedules are written in parts of a run, so another number of epochs rescales them. A recipe that distils names its
    teacher, or leaves that to ``teacher``: a finished run's folder, ``timm:NAME``, ``torchvision:NAME``,
    ``VARIANT@FILE`` with a weights file, or ``none`` to train without one.

    Raises ``UserError`` for an unknown name, a file that is no TOML, an unknown key, a value out of range, or a missing
    teacher.
    """
    path = _find_recipe(name_or_path)
    values = read_toml(path, "recipe")
    values.setdefault("name", path.stem)
    values |= {key: value for key, value in (("epochs", epochs), ("freeze", freeze)) if value is not None}
    asked = {key: value for key, value in (settings or {}).items() if key.startswith("recipe.")}
    distils = "distillation" in values
    _set_teacher(values, teacher or asked.get("recipe.distillation.teacher"))
    source = f"The recipe {str(name_or_path)!r}"
    recipe = validate_configuration(Recipe, values, source=source)
    flags = {
        "recipe.batch_size": batch_size,
        "recipe.optimizer.learning_rate": learning_rate,
        "recipe.optimizer.weight_decay": weight_decay,
        "recipe.label_smoothing": label_smoothing,
        "recipe.gradient_clip_norm": clip,
    }
    asked |= {key: value for key, value in flags.items() if value is not None}
    _, changed = change_settings(DataConfig(), recipe, asked, source=source)
    differing = [key for key, _, _ in list_differences(recipe, changed)]
    keys = [key for key in differing if key not in ("epochs", "freeze") or (key == "freeze" and not changed.freeze)]
    if distils and changed.distillation is None:
        keys = [*(key for key in keys if not key.startswith("distillation.")), "distillation.teacher"]
    file = str(name_or_path) if _is_file(name_or_path) else None
    return changed.model_copy(update={"changed": tuple(keys), "file": file})


def _is_file(name_or_path: str | Path) -> bool:
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or text.endswith(".toml") or "/" in text


def _find_recipe(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if _is_file(name_or_path):
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(f"There is no recipe file {path}. Give a TOML file, or one of {', '.join(list_recipes())}.")
        return path
    try:
        return RECIPES[text]
    except UnknownNameError as error:
        raise UserError(f"{error} A recipe of your own is given by its file, NAME.toml.") from None


def _set_teacher(values: dict[str, Any], teacher: str | None) -> None:
    distillation = values.get("distillation")
    if teacher == "none":
        values.pop("distillation", None)
    elif teacher is not None:
        values["distillation"] = {**(distillation or {}), "teacher": teacher}
    elif isinstance(distillation, dict) and "teacher" not in distillation:
        raise UserError(
            f"The recipe {values['name']!r} distils knowledge from a teacher and names none. Give one with --teacher: "
            "the folder of a finished run, timm:NAME, torchvision:NAME or VARIANT@FILE.safetensors; "
            "or leave distillation out with --teacher none."
        )
