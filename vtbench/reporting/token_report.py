"""The files of ``vtbench tokens``: numbers as JSON and CSV, the maps themselves, and figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vtbench.documents.figures import save_figure
from vtbench.documents.table import to_csv
from vtbench.files import publish_bytes, publish_set, publish_text
from vtbench.records import NotMeasured, save_record
from vtbench.records.tokens import ForegroundRecord, ModuleMapsRecord, TokensRecord
from vtbench.reporting.style import house_style
from vtbench.reporting.token_figure import Panel, draw_overview, draw_tokens
from vtbench.stats.attention_maps import MappedImage, choose_tokens, compare_maps, measure_entropy
from vtbench.units import format_items

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# L tokens; H height, W width of a map in cells.

TOKENS = "tokens.json"
_DPI = 150  # A slide of 2000 x 1125 pixels.
_KINDS = {"attention": "Spatial attention", "reach": "Reach after token mixing"}
_FIGURES = tuple(
    f"{name}.{kind}"
    for name in ("[0-9]*-module[0-9]*-attention", "[0-9]*-module[0-9]*-reach", "overview-module[0-9]*")
    for kind in ("png", "svg")
)
"""What figures of tokens are called; see `_list_figures`."""


def write_tokens(record: TokensRecord, images: Sequence[MappedImage], folder: Path) -> list[Path]:
    """Write ``tokens.json``, ``tokens.csv``, ``maps.safetensors`` and figures (PNG, SVG), all or none; their paths.

    Figures of other images that were written there before are removed: the numbers beside them are no longer theirs.
    """
    from safetensors.numpy import save

    with publish_set(folder, stale=_FIGURES) as staged:
        written = [staged / name for name in (TOKENS, "tokens.csv", "maps.safetensors")]
        save_record(written[0], record)
        publish_text(written[1], to_csv(list_rows(record)))
        publish_bytes(written[2], save(_collect_arrays(images)))
        with house_style():
            for name, draw in _list_figures(record, images):
                written += save_figure(draw(), staged, name, dpi=_DPI)
    return [folder / path.name for path in written]


def list_rows(record: TokensRecord) -> Iterator[dict[str, Any]]:
    """One row for each token of each module in each image; what was not measured is empty."""
    for image in record.images:
        for module in image.modules:
            for token in module.tokens:
                front = token.foreground
                yield {
                    "image": image.name,
                    "module": module.module,
                    "layer": module.layer,
                    "tokenizer": module.tokenizer,
                    "relation": module.relation,
                    "token": module.rows[token.token] if module.rows else token.token,
                    "entropy_nats": token.entropy_nats,
                    "reach_entropy_nats": _give(token.reach_entropy_nats),
                    "uniform_entropy_nats": module.uniform_entropy_nats,
                    "peak_row": token.peak_cell[0],
                    "peak_column": token.peak_cell[1],
                    "peak_over_uniform": token.peak_over_uniform,
                    "foreground_attention_percent": _give_front(front, "attention_percent"),
                    "foreground_area_percent": _give_front(front, "area_percent"),
                    "foreground_ratio": _give_front(front, "ratio"),
                }


def shorten_name(name: str) -> str:
    """A name for a file: of ``photos/my cat.png`` my-cat."""
    stem = name.rpartition("/")[2]
    stem = re.sub(r"\.(png|jpe?g|webp|bmp|gif|tiff?|ppm)$", "", stem, flags=re.IGNORECASE)
    return re.sub(r"[^\w.]+", "-", stem).strip("-.") or "image"


def _list_figures(record: TokensRecord, images: Sequence[MappedImage]) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Every figure's file name and how to draw it: of each image, module and kind, and one of all images a module."""
    for number, (noted, image) in enumerate(zip(record.images, images, strict=True)):
        for module, maps in zip(noted.modules, image.maps, strict=True):
            start = f"{number}-{shorten_name(noted.name)}-module{module.module}"
            caption = f"{_name_subject(record)} · {shorten_name(noted.name)}"
            yield f"{start}-attention", partial(_draw_kind, "attention", maps.attention, module, image, caption)
            if maps.reach is not None:
                yield f"{start}-reach", partial(_draw_kind, "reach", maps.reach, module, image, caption)
    if len(images) > 1:
        for place, module in enumerate(record.images[0].modules):
            yield f"overview-module{module.module}", partial(_draw_all, record, images, place)


def _draw_kind(
    kind: str, maps_LHW: NDArray[np.float64], module: ModuleMapsRecord, image: MappedImage, caption: str
) -> Figure:
    height, width = module.map_size
    return draw_tokens(
        image.picture,
        [Panel(_title(module, token, map_HW), image.picture, map_HW) for token, map_HW in enumerate(maps_LHW)],
        title=f"{_KINDS[kind]}{_count_tokens(module)}, {_name_module(module)}",
        caption=f"{caption} · above each map: {'head' if module.rows else 'token'} · entropy "
        f"(uniform over {height}×{width}: {module.uniform_entropy_nats:.2f} nats){_describe_difference(maps_LHW)}",
        mask=image.mask,
    )


def _draw_all(record: TokensRecord, images: Sequence[MappedImage], place: int) -> Figure:
    module = record.images[0].modules[place]
    chosen = choose_tokens([image.maps[place].attention for image in images])
    rows = []
    for noted, image in zip(record.images, images, strict=True):
        maps_LHW = image.maps[place].attention
        panels = [Panel(_title(module, token, maps_LHW[token]), image.picture, maps_LHW[token]) for token in chosen]
        rows.append((shorten_name(noted.name), image.picture, panels))
    return draw_overview(
        rows,
        title=f"Spatial attention{_count_tokens(module, len(chosen))}, {_name_module(module)}",
        caption=f"{_name_subject(record)} · "
        + ("" if module.rows else "the sharpest token and those most unlike it and each other · ")
        + f"{'head' if module.rows else 'token'} · entropy (uniform: {module.uniform_entropy_nats:.2f} nats)",
    )


def _collect_arrays(images: Sequence[MappedImage]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for number, image in enumerate(images):
        for maps in image.maps:
            key = f"image{number}.module{maps.module}"
            arrays[f"{key}.attention_LHW"] = np.ascontiguousarray(maps.attention)
            if maps.mixing is not None:
                arrays[f"{key}.mixing_LM"] = np.ascontiguousarray(maps.mixing)
    return arrays


def _describe_difference(maps_LHW: NDArray[np.float64]) -> str:
    divergence, _ = compare_maps(maps_LHW)
    return "" if isinstance(divergence, NotMeasured) else f" · maps differ by {divergence:.3f} of 1 bit"


def _title(module: ModuleMapsRecord, token: int, map_HW: NDArray[np.float64]) -> str:
    name = module.rows[token] if module.rows else token
    return f"{name} · {measure_entropy(map_HW[None])[0]:.2f} nats"


def _count_tokens(module: ModuleMapsRecord, num_shown: int | None = None) -> str:
    if module.rows:
        return f" of {module.tokenizer}"
    return (
        f" of {format_items(module.num_tokens, 'token')}"
        if num_shown is None
        else f" of {num_shown} of {module.num_tokens} tokens"
    )


def _name_module(module: ModuleMapsRecord) -> str:
    if module.layer:
        return module.layer
    return f"module {module.module} ({module.tokenizer} tokenizer)"


def _name_subject(record: TokensRecord) -> str:
    return record.variant if record.weights_sha256 else f"{record.variant}, untrained"


def _give(value: float | NotMeasured) -> float | None:
    return None if isinstance(value, NotMeasured) else value


def _give_front(front: ForegroundRecord | NotMeasured, field: str) -> float | None:
    return None if isinstance(front, NotMeasured) else getattr(front, field)
