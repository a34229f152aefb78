"""Options of ``train`` and ``ablate`` on how runs are carried out, each with what it does to their repeatability."""

from __future__ import annotations

from typing import Annotated

import typer

Workers = Annotated[int, typer.Option(help="Processes of each run that read images ahead: change no bit.")]
Precision = Annotated[
    str, typer.Option(help="float32, bfloat16 or float16: rounds otherwise, repeats itself to the bit.")
]
ChannelsLast = Annotated[bool, typer.Option(help="Memory layout: sums in another order, repeats itself to the bit.")]
Compile = Annotated[
    bool, typer.Option("--compile", help="Use torch.compile: repeats itself with the same kernels only.")
]
Accumulate = Annotated[
    int, typer.Option(help="Micro-batches a step: batch normalisation sees those, so another training.")
]
