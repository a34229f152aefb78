"""What a model costs, counted: in full, in parts that sum to it, against another model, and as other tools print it.

Latency is measured beside that. MACs are multiply-accumulates of a whole batch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from vtbench.records.record import NotMeasured, Record
from vtbench.records.run import EnvironmentRecord
from vtbench.units import format_millions, format_share

Count = Annotated[int, BeforeValidator(lambda value: 0 if value in ("", None) else value)]
OptionalCount = Annotated[int | None, BeforeValidator(lambda value: None if value == "" else value)]
"""Counts of a CSV file, in which a blank is none."""


class ParameterCount(Record):
    """Elements of parameters and buffers, and the bytes of both by type (``float32`` ...).

    ``idle`` of them no operator of the pass took, those of auxiliary heads say; ``idle_parts`` names where they are.
    """

    trainable: int
    frozen: int
    buffers: int
    bytes_by_dtype: dict[str, int]
    idle: int = 0
    idle_parts: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Trainable and frozen parameters."""
        return self.trainable + self.frozen


class ActivationCount(Record):
    """Values kept for the backward pass of one training step, the input among them, weights and buffers not."""

    elements: int
    bytes: int
    tensors: int


class Part(Record):
    """One part of a breakdown."""

    name: str
    macs: int


class ModuleCost(Record):
    """One module: its MACs with all below it, its own, how often it was called, the parameters in it."""

    path: str
    kind: str
    macs: int
    own_macs: int
    calls: int
    params: int


class OperatorCost(Record):
    """One operator: its MACs, how often it ran, and why it is free if it is."""

    name: str
    macs: int
    runs: int
    verdict: str


class Unstated(Record):
    """MACs that no closed form explains, for one class of modules."""

    kind: str
    calls: int
    macs: int


class InputShape(Record):
    """One tensor that the model was given: the argument and the place in it, its shape with the batch, its type."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class ValueOperator(Record):
    """An operator by which values decide what happens next: its name, the path of its module, how often it ran."""

    name: str
    module: str
    runs: int


class ValueDependence(Record):
    """What a model costs depends on the values that it computes.

    ``macs`` are the different counts of ``num_traces`` passes with other values and other answers to its questions;
    they are all there are if the ways ``is_complete``. ``limits`` are the model's own, and ``at_limits`` says that
    everything passed up to them.
    """

    operators: tuple[ValueOperator, ...]
    macs: tuple[int, ...]
    num_traces: int
    is_complete: bool
    limits: str | None
    at_limits: bool


class TrainingCost(Record):
    """MACs of one training step: forward in training mode, backward, and both."""

    forward_macs: int
    backward_macs: int

    @property
    def macs(self) -> int:
        """MACs of the whole step."""
        return self.forward_macs + self.backward_macs


class Profile(Record):
    """What a model costs for one input: MACs of a forward pass in evaluation, in full and in parts that sum to it.

    ``input_size`` is the shape of the first input with the batch, ``inputs`` are all of them; ``macs`` are for the
    whole batch. ``covered_macs`` are explained by closed forms and ``unstated`` names the rest;
    ``stated_only_macs`` no operator could confirm.
    ``traced_on`` is "meta", or the device of the real tensors that had to be used; ``notes`` say why.
    ``value_dependence`` is None for a cost that shapes alone decide.
    """

    model: str
    input_size: tuple[int, ...]
    macs: int
    params: int
    parameters: ParameterCount
    activations: ActivationCount | NotMeasured
    training: TrainingCost | NotMeasured | None
    covered_macs: int
    stated_only_macs: int
    unstated: tuple[Unstated, ...]
    traced_on: str
    notes: tuple[str, ...]
    stages: tuple[Part, ...]
    roles: tuple[Part, ...]
    modules: tuple[ModuleCost, ...]
    operators: tuple[OperatorCost, ...]
    inputs: tuple[InputShape, ...] = ()
    value_dependence: ValueDependence | None = None

    def __repr__(self) -> str:
        return f"Profile({self._headline})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        from vtbench.documents.html import to_html, to_html_notes
        from vtbench.documents.table import make_table

        groups = {"stage": self.stages, "role": self.roles}
        rows = [
            (group, part.name, format_millions(part.macs), format_share(part.macs, self.macs or 1))
            for group, parts in groups.items()
            for part in parts
        ]
        table = make_table(("split", "part", "MACs (M)", "%"), rows, numbers=("MACs (M)", "%"), title=self._headline)
        return to_html(table) + to_html_notes(self.notes)

    @property
    def _headline(self) -> str:
        size = "x".join(map(str, self.input_size))
        costs = f"{format_millions(self.macs)} M MACs, {format_millions(self.params)} M parameters"
        return f"{self.model} at {size}: {costs}"


class PartDifference(Record):
    """What one part costs in the other model and in this one. ``group``: total, stage, role, operator or parameters."""

    group: str
    name: str
    other: int
    this: int

    @property
    def ratio(self) -> float | None:
        """What this model spends relative to the other: 0.9 is a tenth less; None where the other spends nothing."""
        return self.this / self.other if self.other else None


class Difference(Record):
    """Two profiles side by side. The parts of each group sum to the totals."""

    other: str
    parts: tuple[PartDifference, ...]


class ToolOpinion(Record):
    """What one version of a tool prints, in MACs, and the operators that explain the difference.

    ``missed`` are (operator in kind of module, MACs), from the tool's own count of each module. ``extra_macs`` is what
    the tool counts and we do not, or what it counts without saying in which module. The tool's count is ours less the
    missed and with the extra.
    """

    tool: str
    version: str | None = None
    macs: int | NotMeasured
    missed: tuple[tuple[str, int], ...] = ()
    extra_macs: int = 0


class ZooRow(Record):
    """One of many models in short: what it costs, or why it was refused (``refused``), and how it was asked.

    ``asked`` are the options that were given, ``packages`` the versions that counted, ``cpu_seconds`` what it took.
    """

    model: str
    input_size: tuple[int, ...] = ()
    macs: int | None = None
    params: int | None = None
    buffers: int | None = None
    idle_params: int | None = None
    activation_elements: int | None = None
    activation_bytes: int | None = None
    training_step_macs: int | None = None
    covered_macs: int | None = None
    stated_only_macs: int | None = None
    unstated: tuple[Unstated, ...] = ()
    traced_on: str | None = None
    notes: tuple[str, ...] = ()
    refused: str | None = None
    cpu_seconds: float = 0.0
    asked: dict[str, str] = Field(default_factory=dict)
    packages: dict[str, str] = Field(default_factory=dict)


class ZooEntry(Record):
    """A model of the survey of all: our count, or why it is refused, and what explains the numbers of others.

    ``fused_attention``, ``same_padding``, ``recurrent`` and ``by_hand`` are MACs that other counters miss,
    ``norms_and_pools`` what fvcore adds. ``deployed_*`` are of the form for deployment, where it costs otherwise.
    """

    model: str
    input_size: str = ""
    macs: OptionalCount = None
    params: OptionalCount = None
    covered_macs: OptionalCount = None
    idle_params: Count = 0
    fused_attention: Count = 0
    same_padding: Count = 0
    recurrent: Count = 0
    by_hand: Count = 0
    norms_and_pools: Count = 0
    traced_macs: Count = 0
    deployed_macs: OptionalCount = None
    deployed_params: OptionalCount = None
    deployed_norms_and_pools: Count = 0
    refused: str | None = None


class FvcoreCount(Record):
    """What fvcore counts, and the difference to our count by kind of operator (ours minus its).

    ``ignored`` are operators that fvcore saw, did not count, and that are not free by our table.
    """

    macs: int
    differences: dict[str, int]
    ignored: tuple[str, ...]


class SurveyEntry(Record):
    """One model: our count and fvcore's, or why it is refused. ``fvcore`` is a text where fvcore itself fails."""

    model: str
    input_size: tuple[int, ...] = ()
    macs: int | None = None
    params: int | None = None
    covered_macs: int | None = None
    notes: tuple[str, ...] = ()
    fvcore: FvcoreCount | str | None = None
    refused: str | None = None


class Measurement(Record):
    """One model's latency: median and quartiles of one pass over the batch in evaluation mode, and all to repeat it.

    ``passes_per_sample`` passes are timed together where one alone is too short for the clock. ``settled`` is False
    when time was up before the quartiles had come to rest within 2 %. ``cpu_ms`` is the CPU time of one pass, over all
    threads; ``load_average`` how many processes wanted a core in the minute before. ``ratios`` has, for each model that
    was measured in the same rounds, how many times its time this one takes, and the 95 % interval of that, wherever the
    ratio has settled; it can have where the times, which a busy machine moves together, have not.
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
    cpu_ms: float | None = None
    load_average: float | None = None
    ratios: dict[str, tuple[float, float, float]] = Field(default_factory=dict)

    def compare(self, other: str) -> tuple[float, float, float] | None:
        """Times the latency of ``other``, with the interval; None where the two are not told apart, or unsettled."""
        ratio = self.ratios.get(other)
        return ratio if ratio is not None and not ratio[1] <= 1 <= ratio[2] else None
