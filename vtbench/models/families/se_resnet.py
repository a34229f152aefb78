"""ResNet-18/34/50/101 with squeeze-and-excitation in every block (Hu et al. 2018, arXiv 1709.01507, figure 3)."""

from __future__ import annotations

from vtbench.attention.squeeze_excitation import SqueezeExcitationOptions
from vtbench.models.residual import DEPTHS, register_attention_resnets

register_attention_resnets(
    "se", DEPTHS, SqueezeExcitationOptions(), source="Hu et al. 2018, arXiv 1709.01507, figure 3 and section 6.1"
)
