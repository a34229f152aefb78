"""What a model takes on a device, measured."""

from __future__ import annotations

from vtbench.records.record import NotMeasured, Record
from vtbench.records.run import EnvironmentRecord


class Measurement(Record):
    """One model's latency: median and quartiles of one pass over the batch in evaluation mode, and all to repeat it.

    ``passes_per_sample`` passes are timed together where one alone is too short for the clock. ``settled`` is False
    when time was up before the quartiles had come to rest within 2 %.
    """

    latency_ms: float
    latency_ms_quartiles: tuple[float, float]
    latency_per_image_ms: float
    images_per_second: float
    peak_memory_bytes: int | NotMeasured
    batch_size: int
    dtype: str
    threads: int
    num_samples: int
    passes_per_sample: int
    warm_up_passes: int
    settled: bool
    measured_together: tuple[str, ...]
    environment: EnvironmentRecord
