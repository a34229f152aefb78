"""ResNet-50 with three global reasoning units in its third stage (Chen et al. 2019, arXiv 1811.12814, section 4.1)."""

from __future__ import annotations

from vtbench.attention.glore import GlobalReasoningOptions
from vtbench.models.residual import register_attention_resnets

_WHERE = {4: (0, 2, 4)}
"""Stage (res4 is 4) -> blocks that a unit follows: every second one, as in the authors' code."""

register_attention_resnets(
    "glore", (50,), GlobalReasoningOptions(), source="Chen et al. 2019, arXiv 1811.12814, section 4.1", where=_WHERE
)
