"""ResNet-18/34/50/101 with CBAM in every block (Woo et al. 2018, arXiv 1807.06521, figure 3)."""

from __future__ import annotations

from vtbench.attention.cbam import CbamOptions
from vtbench.models.residual import DEPTHS, register_attention_resnets

register_attention_resnets(
    "cbam", DEPTHS, CbamOptions(), source="Woo et al. 2018, arXiv 1807.06521, figure 3 and section 4.2"
)
