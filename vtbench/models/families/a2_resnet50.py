"""ResNet-50 with five double attention units (Chen et al. 2018, arXiv 1810.11579, section 4)."""

from __future__ import annotations

from vtbench.attention.double_attention import DoubleAttentionOptions
from vtbench.models.residual import register_attention_resnets

_WHERE = {3: (0, 2), 4: (0, 2, 4)}
"""Stage (res3 is 3) -> blocks that a unit follows: two in res3 and three in res4, every second block."""

register_attention_resnets(
    "a2", (50,), DoubleAttentionOptions(), source="Chen et al. 2018, arXiv 1810.11579, section 4", where=_WHERE
)
