"""Attention-augmented ResNet-34/50/101 (Bello et al. 2019, arXiv 1904.09925, section 4.2).

One 3x3 convolution of every block in the last three stages is augmented, in a basic block the first. The ratios are
those that reproduce the paper's numbers of parameters: kappa 0.2 and upsilon 0.1 with bottlenecks, both 0.25 without.
"""

from __future__ import annotations

from vtbench.attention.augmented import AugmentedOptions
from vtbench.models.residual import register_attention_resnets

_SOURCE = "Bello et al. 2019, arXiv 1904.09925, section 4.2"
_WHERE = {3: (0,), 4: (0,), 5: (0,)}

register_attention_resnets("aa", (34,), AugmentedOptions(kappa=0.25, upsilon=0.25), source=_SOURCE, where=_WHERE)
register_attention_resnets("aa", (50, 101), AugmentedOptions(), source=_SOURCE, where=_WHERE)
