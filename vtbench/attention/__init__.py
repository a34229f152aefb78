"""Attention blocks, one file each; `ATTENTION_BLOCKS` imports a file when its block is asked for, or all are."""

from vtbench.attention.attention_block import ATTENTION_BLOCKS

ATTENTION_BLOCKS.expect_files(__name__, __path__)
