import math

import pytest
import torch

from vtbench.layers.convolution import Conv2d


def test_a_convolution_counts_the_fan_out_of_one_group():
    torch.manual_seed(0)
    conv = Conv2d(256, 256, 3, groups=4)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.02)
    assert conv.bias is not None
    assert not conv.bias.any()
