"""What is good, and spoiled by the batteries."""

from __future__ import annotations

TINY_DATA = "scenes:num_train=20,num_val=10"
TINY_MODEL = "vt_resnet20:width=8,num_tokens=4"
STUDY = f"""
question = "Which is better?"
recipe = "small"
epochs = 1
seeds = 1
data = "{TINY_DATA}"

[arms]
narrow = "resnet20:width=2"
wide = "resnet20:width=4"
"""
