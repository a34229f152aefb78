"""What the arms of a study take on one machine: latency, throughput, memory and MACs by role, beside the records."""

from __future__ import annotations

from typing import Literal

from vtbench.records.profile import Measurement, Part
from vtbench.records.record import NotMeasured, Record


class MeasuredArm(Record):
    """One arm. ``roles`` are its MACs for one image by what they are for; ``energy_joules`` is that of an image."""

    arm: str
    variant: str
    measurement: Measurement | NotMeasured
    roles: tuple[Part, ...]
    energy_joules: float | NotMeasured


class MeasuredArms(Record):
    """All arms that were measured together, taking turns. ``energy_of`` is what the meter of energy covers."""

    format: Literal[1] = 1
    energy_of: str | None = None
    arms: tuple[MeasuredArm, ...]

    def find(self, arm: str, variant: str) -> MeasuredArm | None:
        """What was measured of an arm, if it still is the same variant."""
        return next((one for one in self.arms if (one.arm, one.variant) == (arm, variant)), None)


class LatencyEntry(Record):
    """One model of a survey: what is counted of one image, beside what a pass over a batch takes."""

    model: str
    macs: int
    params: int
    measurement: Measurement | NotMeasured
