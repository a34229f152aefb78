"""ResNet-50 with five non-local blocks (Wang et al. 2018, arXiv 1711.07971, section 5)."""

from __future__ import annotations

from vtbench.attention.non_local import NonLocalOptions
from vtbench.models.residual import register_attention_resnets

_WHERE = {3: (1, 3), 4: (1, 3, 5)}
"""Stage (res3 is 3) -> blocks that are followed: two in res3 and three in res4, as in the authors' code."""

register_attention_resnets(
    "nonlocal", (50,), NonLocalOptions(), source="Wang et al. 2018, arXiv 1711.07971, section 5", where=_WHERE
)
