"""What the makers of GPUs print of them: memory, and the most dense floating-point operations a second.

``float32_tflops`` is that of TF32 tensor cores where a GPU has them, because convolutions use them by default, and
``float32_by`` says whether it is. ``half_tflops`` is that of bfloat16, and of float16 before there was one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vtbench.errors import UserError, did_you_mean
from vtbench.records.record import Record, load_table

GPUS = Path(__file__).with_name("gpus.csv")


class PublishedGpu(Record):
    """One GPU. Rates are of 10^12 floating-point operations, two of which are a multiply-accumulate."""

    name: str
    title: str
    memory_gb: float
    float32_tflops: float
    half_tflops: float
    float32_by: Literal["FP32", "TF32"]
    source: str

    def peak_macs(self, precision: str) -> float:
        """Multiply-accumulates a second that nothing exceeds."""
        tflops = self.float32_tflops if precision == "float32" else self.half_tflops
        return tflops * 1e12 / 2

    def is_named(self, device_name: str) -> bool:
        """Whether a driver that says ``device_name`` speaks of this GPU."""
        return self.title.lower().replace(" ", "") in device_name.lower().replace(" ", "")


def find_gpu(name: str) -> PublishedGpu:
    """The GPU called ``name``. Raises ``UserError`` naming those that are known: nothing is assumed of others."""
    known = {gpu.name: gpu for gpu in load_table(GPUS, PublishedGpu)}
    if name.lower() not in known:
        raise UserError(
            f"There is no GPU named {name!r} whose data sheet is known. {did_you_mean(name.lower(), known)} "
            f"Known: {', '.join(known)}."
        )
    return known[name.lower()]
