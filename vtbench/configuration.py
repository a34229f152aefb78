"""What a run is told: frozen, validated, and small enough to stand whole in every record."""

from __future__ import annotations

from enum import Enum
from operator import gt
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    field_validator,
    model_validator,
)

from vtbench.mistakes import explain_device
from vtbench.written import Configuration

LARGEST_SIDE = 16_384
LARGEST_BATCH = 1_000_000
MOST_EPOCHS = 100_000
MOST_SEEDS = 10_000
MOST_ARMS = 10_000
MOST_CELLS = 100_000
MOST_THREADS = 1024
MOST_WORKERS = 256


class DataConfig(Configuration):
    """Which images. ``spec`` is what ``--data`` takes, for example ``scenes:clutter=8`` or ``parquet:PATH``."""

    LATER: ClassVar[frozenset[str]] = frozenset({"held_out", "held_out_seed", "cleared"})
    NOTES: ClassVar[frozenset[str]] = frozenset({"cleared"})

    spec: str = "scenes"
    image_size: int | None = Field(
        None, ge=8, le=LARGEST_SIDE, description="side in pixels; None takes the data set's own"
    )
    limit_train: int | None = Field(None, ge=1, description="training images, class-balanced, drawn by the seed")
    limit_val: int | None = Field(None, ge=1, description="validation images, class-balanced, drawn by the seed")
    held_out: float | None = Field(
        None, gt=0, lt=1, description="validate on this part of the training split, not on its own; limits are at most"
    )
    held_out_seed: int = Field(0, ge=0, description="draws that part, the same for every seed of a run")
    cleared: tuple[str, ...] = Field((), description="what the study's file sets of them, and the call took back")


def _repeat_side(value: Any) -> Any:
    is_side = isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal())
    return (value, value) if is_side else value


Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Size = Annotated[tuple[Side, Side], BeforeValidator(_repeat_side)]
"""Height and width in pixels; one number stands for both."""


class AugmentationConfig(Configuration):
    """Random changes to a training image; validation images are only normalised.

    With ``scale`` or ``crop`` a window of the image is cut out and brought to the size of the crop, instead of the
    crop by padding: of the image scaled by a factor drawn uniformly, a part of the size of ``crop``. Beyond the image
    it is filled with the mean colour, and its mask with void.
    """

    LATER: ClassVar[frozenset[str]] = frozenset(
        {"scale", "crop", "swap_on_flip", "rand_augment", "rand_augment_magnitude", "color_jitter", "color_jitter_hue"}
        | {"random_erasing", "mixup", "cutmix"}
    )

    crop_padding: int = Field(4, ge=0, description="reflect-pad by this many pixels per 32 of the side, then crop back")
    flip: bool = Field(True, description="mirror left to right with probability one half")
    auto_augment: bool = Field(False, description="AutoAugment before the crop (Cubuk et al. 2019)")
    scale: tuple[float, float] | None = Field(None, description="smallest and largest factor; None: 1")
    crop: Size | None = Field(None, description="height and width to train at; None: those of the image")
    swap_on_flip: tuple[tuple[int, int], ...] = Field((), description="classes of pixels that mirroring exchanges")
    rand_augment: int = Field(0, ge=0, le=16, description="RandAugment: so many operations in a row, before the crop")
    rand_augment_magnitude: int = Field(9, ge=0, le=30, description="RandAugment: how much each does")
    color_jitter: float = Field(0.0, ge=0, le=1, description="largest change of brightness, contrast and saturation")
    color_jitter_hue: float = Field(0.0, ge=0, le=0.5, description="largest turn of the hue, in turns")
    random_erasing: float = Field(0.0, ge=0, le=1, description="probability that a rectangle is filled")
    mixup: float = Field(0.0, ge=0, le=100, description="alpha of the share of an image in a mixture; 0: none")
    cutmix: float = Field(0.0, ge=0, le=100, description="alpha of the share of an image that is pasted over; 0: none")

    @property
    def mixes(self) -> bool:
        """Whether images and labels of a batch are mixed."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def unfit_for_masks(self) -> tuple[str, ...]:
        """What is switched on that is done to images alone, so that masks would not fit them any more."""
        names = ("auto_augment", "rand_augment", "random_erasing", "mixup", "cutmix")
        return tuple(name for name in names if getattr(self, name))

    @property
    def cuts_windows(self) -> bool:
        """Whether ``scale`` or ``crop`` stands instead of the crop by padding."""
        return self.scale is not None or self.crop is not None

    @model_validator(mode="after")
    def _check_windows(self) -> AugmentationConfig:
        if self.cuts_windows and self.crop_padding:
            raise ValueError("'scale' and 'crop' stand instead of 'crop_padding': set crop_padding = 0")
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"'scale' is {self.scale}: write [smallest, largest], both above 0")
        if self.auto_augment and self.rand_augment:
            raise ValueError("'auto_augment' and 'rand_augment' take each other's place: switch one off")
        swapped = [number for pair in self.swap_on_flip for number in pair]
        if len(set(swapped)) < len(swapped):
            raise ValueError(f"'swap_on_flip' is {self.swap_on_flip}: a class may stand in one pair only")
        return self


class OptimizerConfig(Configuration):
    """The optimiser and its numbers. Weight decay is applied to weights of two or more dimensions only if so stated."""

    name: Literal["sgd", "rmsprop", "adamw"] = "sgd"
    learning_rate: float = Field(0.1, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="adamw: beta1")
    nesterov: bool = False
    squared_decay: float = Field(0.9, ge=0, lt=1, description="rmsprop, adamw (beta2): decay of the mean of squares")
    epsilon: float = Field(1e-8, gt=0, description="rmsprop, adamw: added to the root of the mean of squares")
    weight_decay: float = Field(4e-5, ge=0)
    decay_norm_and_bias: bool = Field(True, description="also decay normalisation weights and biases")


class ScheduleConfig(Configuration):
    """The learning rate over the run, in parts of its length, so that ``--epochs`` rescales it."""

    LATER: ClassVar[frozenset[str]] = frozenset({"power"})

    name: Literal["step", "cosine", "exponential", "polynomial"] = "step"
    milestones: tuple[float, ...] = Field((1 / 3, 2 / 3), description="step: parts of the run after which to decay")
    decay: float = Field(0.1, gt=0, description="step: factor at a milestone; exponential: factor over the whole run")
    power: float = Field(0.9, gt=0, description="polynomial: the exponent of the part of the run that remains")
    warmup: float = Field(0.0, ge=0, lt=1, description="part of the run in which the rate rises linearly")
    warmup_start: float = Field(0.0, ge=0, le=1, description="the rate at the very start, as a part of the peak")


class DistillationConfig(Configuration):
    """Knowledge distillation: loss = ``weight`` * distillation + (1 - ``weight``) * cross entropy."""

    teacher: str = Field(description="a registered variant, timm:NAME, torchvision:NAME or a finished run's folder")
    weight: float = Field(0.8, ge=0, le=1)
    temperature: float = Field(1.0, gt=0)


class Recipe(Configuration):
    """How a network is trained; every arm of a comparison gets the same one."""

    LATER: ClassVar[frozenset[str]] = frozenset({"class_weights", "window", "stride", "freeze", "changed", "file"})
    NOTES: ClassVar[frozenset[str]] = frozenset({"changed", "file"})

    name: str
    epochs: int = Field(90, ge=1, le=MOST_EPOCHS)
    batch_size: int = Field(256, ge=1, le=LARGEST_BATCH)
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    gradient_clip_norm: float | None = Field(None, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    stochastic_depth: float = Field(0.0, ge=0, lt=1, description="probability that the last residual branch is dropped")
    ema_decay: float | None = Field(None, gt=0, lt=1, description="also keep, and evaluate, averaged weights")
    sync_batch_norm: bool = Field(False, description="batch statistics over all processes of a run (SyncBN)")
    distillation: DistillationConfig | None = None
    freeze: tuple[str, ...] = Field((), description="patterns of names of parameters that are not trained")
    class_weights: tuple[NonNegativeFloat, ...] | Literal["inverse_frequency", "median_frequency"] | None = Field(
        None, description="segmentation: of each class in the loss, given or from how many training pixels it has"
    )
    window: Size | None = Field(None, description="segmentation: evaluate by windows of this size; None: whole images")
    stride: Size | None = Field(None, description="segmentation: from window to window; None: two thirds of one")
    changed: tuple[str, ...] = Field((), description="keys by which it differs from its file")
    file: str | None = Field(None, description="the user's file that it was read from; None: it goes by its name")

    @model_validator(mode="after")
    def _check_stride(self) -> Recipe:
        if self.stride is not None and (self.window is None or any(map(gt, self.stride, self.window))):
            raise ValueError(f"'stride' is {self.stride} and 'window' {self.window}: windows must leave no gap")
        return self


class Effect(Enum):
    """What a setting of the execution does to the numbers of a run."""

    NOTHING = "changes no bit, so a run that goes on may have another"
    PLACE = "where a run is carried out: rounds otherwise, and belongs to the machine, not to the experiment"
    NUMBERS = "part of the experiment: it stands in the command that repeats a run"


class ExecutionConfig(Configuration):
    """Where and how a run is carried out. It does not change what is computed, save for rounding.

    A field is all that an option of ``train`` and ``ablate`` needs: its flag, its help, the run's configuration and the
    command that repeats a run follow from it.
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"uncounted", "devices", "shard_optimizer", "eval_batch_size"})

    device: Annotated[str, Effect.PLACE] = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    devices: Annotated[int, Effect.PLACE] = Field(
        1, ge=1, le=MOST_THREADS, description="GPUs, or with --device cpu processes, that share each batch of a run."
    )
    threads: Annotated[int | None, Effect.PLACE] = Field(
        None, ge=1, le=MOST_THREADS, description="CPU threads; else torch's own choice."
    )
    workers: Annotated[int, Effect.NOTHING] = Field(
        0, ge=0, le=MOST_WORKERS, description="Processes of each run that read images ahead: change no bit."
    )
    precision: Annotated[Literal["float32", "bfloat16", "float16"], Effect.NUMBERS] = Field(
        "float32", description="float32, bfloat16 or float16: rounds otherwise, repeats itself to the bit."
    )
    channels_last: Annotated[bool, Effect.NUMBERS] = Field(
        True, description="Memory layout: sums in another order, repeats itself to the bit."
    )
    compile: Annotated[bool, Effect.NUMBERS] = Field(
        False, description="Use torch.compile: repeats itself with the same kernels only."
    )
    accumulate: Annotated[int, Effect.NUMBERS] = Field(
        1, ge=1, le=LARGEST_BATCH, description="Micro-batches a step, seen by batch normalisation: another training."
    )
    eval_batch_size: Annotated[int | None, Effect.NUMBERS] = Field(
        None,
        ge=1,
        le=LARGEST_BATCH,
        description="Images evaluated at once; else what suits their size: rounds otherwise.",
    )
    checkpoint_seconds: Annotated[float, Effect.NOTHING] = Field(60.0, gt=0, description="Save at least so often.")
    shard_optimizer: Annotated[bool, Effect.NOTHING] = Field(
        False, description="Of --devices each keeps a part of the optimiser's state: less memory, no other bit."
    )
    uncounted: Annotated[bool, Effect.NOTHING] = Field(
        False, description="Also train a network whose MACs cannot be counted; its record says why."
    )

    @field_validator("device")
    @classmethod
    def _check_device(cls, name: str) -> str:
        if (fault := explain_device(name)) is not None:
            raise ValueError(fault.rstrip("."))
        return name

    @classmethod
    def list_settings(cls, effect: Effect) -> tuple[str, ...]:
        """The fields that have this effect."""
        return tuple(name for name, field in cls.model_fields.items() if effect in field.metadata)


class InitConfig(Configuration):
    """Weights to start from. What they are is ``sha256``, of their names and values; ``source`` is where they lie."""

    source: str = Field(description="a finished run's folder, a file of weights, timm:NAME or torchvision:NAME")
    sha256: str | None = Field(None, description="None: not read yet")
    of_arm: bool = Field(False, description="an arm's own: a part of what is compared, not of how all are treated")


class CodeConfig(Configuration):
    """The user's file, or the package, that builds the network: ``path`` is where it lies, or the package's name."""

    path: str
    sha256: str = Field(description="of the file and what it imports from its own folder, or of the package's modules")

    def describe_change(self, sha256: str) -> str:
        """What a user is told where the hash is another now."""
        return (
            f"The code of {self.path}, or what it imports from beside it, is another than this was begun with: its "
            f"content has the SHA-256 {sha256[:12]}.., and it was {self.sha256[:12]}... Bring that back, or begin anew "
            "with another --out."
        )


class RunConfig(Configuration):
    """Everything that determines one run: a cell of a study, or a single ``vtbench train``.

    The variant of a network from a user's file names the file without its folder, which stands in ``code``.
    """

    LATER: ClassVar[frozenset[str]] = frozenset({"init", "declared", "code", "trial"})

    variant: str
    data: DataConfig
    recipe: Recipe
    declared: dict[str, Any] = Field(
        default_factory=dict,
        description="settings that the study declares to be its arm's own, and the value that all have without that",
    )
    trial: int | None = Field(None, ge=0, description="which trial of tuning it belongs to, counted from 0")
    seed: int = Field(0, ge=0)
    init: InitConfig | None = Field(None, description="None: all weights are drawn from the seed")
    code: CodeConfig | None = Field(None, description="None: vtbench or a library builds the network")
    execution: ExecutionConfig = ExecutionConfig()

    def __hash__(self) -> int:
        return hash((self.variant, self.data, self.recipe, self.seed))

    @property
    def spelling(self) -> str:
        """The variant as it can be built: of a file, with its folder."""
        return self.variant if self.code is None else str(Path(self.code.path).parent / self.variant)
