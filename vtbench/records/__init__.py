"""A frozen type for every result, and its file format: JSON with sorted keys, one object a file or a line.

Accuracies are in percent, times in seconds or milliseconds as the name says, costs are raw integers. What could not be
measured is a `NotMeasured` with its reason, never 0 or NaN.
"""

from __future__ import annotations

from vtbench.records.record import (
    NotMeasured,
    Record,
    append_lines,
    load_lines,
    load_record,
    save_lines,
    save_record,
    to_json,
)
from vtbench.records.run import (
    Certificate,
    CostRecord,
    EnvironmentRecord,
    EpochRecord,
    RunRecord,
    StartRecord,
    TimingRecord,
)

__all__ = [
    "Certificate",
    "CostRecord",
    "EnvironmentRecord",
    "EpochRecord",
    "NotMeasured",
    "Record",
    "RunRecord",
    "StartRecord",
    "TimingRecord",
    "append_lines",
    "load_lines",
    "load_record",
    "save_lines",
    "save_record",
    "to_json",
]
