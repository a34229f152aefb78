"""The arms of a study measured on this machine, taking turns, beside their MACs by role."""

from __future__ import annotations

from collections.abc import Sequence

from vtbench.errors import UserError
from vtbench.profiling.energy import measure_energy, open_meter
from vtbench.profiling.measure import MeasureSettings, measure_models
from vtbench.profiling.profile import ProfileSettings, profile_source
from vtbench.profiling.sources import Source, resolve_source
from vtbench.records import CostRecord, NotMeasured, RunRecord
from vtbench.records.measured import MeasuredArm, MeasuredArms
from vtbench.records.profile import Part


def measure_arms(arms: Sequence[tuple[str, RunRecord]], settings: MeasureSettings, *, batch_size: int) -> MeasuredArms:
    """Measure the network of one run of each named arm at the size of its images. Costs by role are counted.

    Energy is read where the machine has a meter; where it has none, the record says why.

    Raises ``UserError`` for a network that is no longer there.
    """
    sources = [_find_source(record) for _, record in arms]
    given = [source.plan_inputs(batch_size) for source in sources]
    found = measure_models(sources, given, settings)
    meter = open_meter(settings.find_device())
    energies = (
        [meter] * len(arms) if isinstance(meter, NotMeasured) else measure_energy(sources, given, settings, meter)
    )
    return MeasuredArms(
        energy_of=None if isinstance(meter, NotMeasured) else meter.covers,
        arms=tuple(
            MeasuredArm(
                arm=arm,
                variant=record.variant,
                measurement=measured,
                roles=_count_roles(source),
                energy_joules=energy,
            )
            for (arm, record), source, measured, energy in zip(arms, sources, found, energies, strict=True)
        ),
    )


def _find_source(record: RunRecord) -> Source:
    size = record.costs.input_shape if isinstance(record.costs, CostRecord) else None
    return resolve_source(
        record.config.spelling,
        image_size=size and (size[1], size[2]),
        channels=size and size[0],
        num_classes=record.num_classes,
    )


def _count_roles(source: Source) -> tuple[Part, ...]:
    """None for a network that cannot be counted, which was told when it was trained."""
    try:
        return profile_source(source, ProfileSettings(activations=False)).roles
    except UserError:
        return ()
