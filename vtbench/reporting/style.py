"""The one look of every figure: fonts, lines, and a fixed colour and marker for each family of models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

INK = "#222222"
MUTED = "#8a8a8a"
GRID = "#e6e6e6"
PNG_DPI = 200

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "path.simplify": False,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "vtbench",
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Look:
    """How the members of one family are drawn; ``title`` is the family's name in a legend."""

    title: str
    color: str
    marker: str


_LOOKS = {
    "vt_": Look("Visual Transformer", "#d1420e", "o"),
    "se_": Look("SE", "#0072b2", "^"),
    "cbam_": Look("CBAM", "#3f9bd8", "v"),
    "lr_": Look("LR-Net", "#009e73", "D"),
    "sasa_": Look("stand-alone attention", "#5a8f29", "P"),
    "aa_": Look("attention-augmented", "#b8860b", "X"),
    "san": Look("SAN", "#9c5fb5", "<"),
    "glore_": Look("GloRe", "#c2569b", ">"),
    "a2_": Look("A²-Net", "#7a5c3e", "p"),
    "nonlocal_": Look("non-local", "#4c6b8a", "h"),
    "botnet": Look("BoTNet", "#00868b", "*"),
    "vit_": Look("ViT", "#6b6bd6", "d"),
    "deit_": Look("DeiT", "#9a9aec", "d"),
    "t2t_": Look("T2T-ViT", "#40407a", "d"),
    "resnet": Look("ResNet", "#333333", "s"),
}
_OTHER = Look("other", MUTED, "o")


def find_look(variant: str) -> Look:
    """The look of a variant's family, by the name of the model."""
    return next((look for prefix, look in _LOOKS.items() if variant.startswith(prefix)), _OTHER)


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house's style, whatever the user's own settings are, and leave those as they were."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield
