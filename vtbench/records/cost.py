"""What a variant costs, counted."""

from __future__ import annotations

from vtbench.records.record import Record


class CostRecord(Record):
    """What a variant costs per image: 1 MAC = 1 multiply-accumulate. ``input_shape`` is (channels, height, width)."""

    macs: int
    params: int
    input_shape: tuple[int, int, int]
    num_classes: int
