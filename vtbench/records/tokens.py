"""The records of ``vtbench tokens``: what the attention of visual tokens is in numbers.

Entropies are in nats, percentages in percent. Modules, tokens, rows and columns are numbered from 0.
"""

from __future__ import annotations

from vtbench.records import EnvironmentRecord, NotMeasured, Record


class ForegroundRecord(Record):
    """Attention on foreground: its share, that of the area, and the mean of a pixel there over that elsewhere."""

    attention_percent: float
    area_percent: float
    ratio: float


class TokenMapRecord(Record):
    """One token: entropy before and after mixing, the cell it looks at most, and how many times uniform that is."""

    token: int
    entropy_nats: float
    reach_entropy_nats: float | NotMeasured
    peak_cell: tuple[int, int]
    peak_over_uniform: float
    foreground: ForegroundRecord | NotMeasured


class ModuleMapsRecord(Record):
    """One module in one image. ``uniform_entropy_nats`` is the most that an entropy can be.

    ``mean_jensen_shannon_bits`` (0 to 1) and ``mean_cosine`` are over all pairs of tokens. ``foreground`` is that of
    the mean map of all tokens. Attention of a network of others has a ``layer``, the path of the module that computes
    it; there ``tokenizer`` says whose look it is, and the tokens are heads or their mean, as ``rows`` name them.
    """

    module: int
    tokenizer: str
    relation: str
    layer: str = ""
    rows: tuple[str, ...] = ()
    num_tokens: int
    map_size: tuple[int, int]
    uniform_entropy_nats: float
    mean_entropy_nats: float
    mean_reach_entropy_nats: float | NotMeasured
    mean_jensen_shannon_bits: float | NotMeasured
    mean_cosine: float | NotMeasured
    mean_reach_jensen_shannon_bits: float | NotMeasured
    num_distinct_peaks: int
    foreground: ForegroundRecord | NotMeasured
    tokens: tuple[TokenMapRecord, ...]


class ImageTokensRecord(Record):
    """One image: ``name`` as it was given, its own size (height, width), and the modules."""

    name: str
    original_size: tuple[int, int]
    modules: tuple[ModuleMapsRecord, ...]


class PreparationRecord(Record):
    """What was done to every image before the network saw it: the size (height, width), and what was subtracted."""

    image_size: tuple[int, int]
    resizing: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    normalization: str


class TokensRecord(Record):
    """One call of ``vtbench tokens``. ``skipped`` says of each module without maps why it has none."""

    variant: str
    weights: str
    weights_sha256: str | None
    seed: int
    environment: EnvironmentRecord
    preparation: PreparationRecord
    skipped: dict[int, str]
    images: tuple[ImageTokensRecord, ...]
