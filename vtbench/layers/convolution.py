"""A 2-D convolution that initialises itself as residual networks do."""

from __future__ import annotations

import math

from torch import nn


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` with the initialisation of He et al. 2015 (arXiv 1502.01852): normal, variance 2 / fan-out.

    The fan-out of a grouped convolution counts the outputs that one input really reaches (PyTorch's own function counts
    them for all groups, which makes the weights too small by the root of the number of groups). A bias starts at 0.
    """

    def reset_parameters(self) -> None:
        """Draw the weight anew from the global generator and set the bias to 0."""
        fan_out = self.out_channels // self.groups * math.prod(self.kernel_size)
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_out))
        if self.bias is not None:
            nn.init.zeros_(self.bias)
