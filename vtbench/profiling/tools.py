"""The counters of others, each asked in its own way: the total, and where it tells them the MACs of single modules.

Every ``ask`` gets a model with values in evaluation mode and an image, and may change the model.
"""

from __future__ import annotations

import contextlib
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

Answer = tuple[int, dict[str, int]]
"""MACs of the model, and MACs of each module by itself, without those of modules inside it, by its path.

What a tool counts but places in no module is in the first and not in the second.
"""


@dataclass(frozen=True)
class Tool:
    """A counter: the package that holds it and how it is asked."""

    name: str
    package: str
    ask: Callable[[nn.Module, Tensor], Answer]


def _ask_fvcore(model: nn.Module, image: Tensor) -> Answer:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(model, image)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    return int(analysis.total()), take_own({path: int(macs) for path, macs in analysis.by_module().items()})


def _ask_torch(model: nn.Module, image: Tensor) -> Answer:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model(image)
    inclusive = {
        name.partition(".")[2]: sum(counts.values()) // 2
        for name, counts in counter.get_flop_counts().items()
        if name != "Global"
    }
    return int(counter.get_total_flops()) // 2, take_own(inclusive)


def _ask_ptflops(model: nn.Module, image: Tensor) -> Answer:
    from ptflops import get_model_complexity_info

    with _collected(model, "__flops__") as own:
        macs, _ = get_model_complexity_info(
            model,
            tuple(image.shape[1:]),
            input_constructor=lambda _: image,
            as_strings=False,
            print_per_layer_stat=False,
            verbose=False,
        )
    return int(macs), drop_inner(own)


def _ask_thop(model: nn.Module, image: Tensor) -> Answer:
    import thop

    macs, _, layers = thop.profile(model, inputs=(image,), verbose=False, ret_layer_info=True)
    inclusive = {"": int(macs)}

    def flatten(prefix: str, inside: Mapping[str, Any]) -> None:
        for name, (count, _, deeper) in inside.items():
            inclusive[prefix + name] = int(count)
            flatten(f"{prefix}{name}.", deeper)

    flatten("", layers)
    return int(macs), take_own(inclusive)


def _ask_torchinfo(model: nn.Module, image: Tensor) -> Answer:
    import torchinfo

    summary = torchinfo.summary(model, input_data=image, verbose=0)
    paths = {id(module): path for path, module in model.named_modules()}
    own: Counter[str] = Counter()
    for layer in summary.summary_list:
        if layer.is_leaf_layer:
            own[paths.get(id(layer.module), "")] += int(layer.macs)
    return int(summary.total_mult_adds), dict(own)


def _ask_calflops(model: nn.Module, image: Tensor) -> Answer:
    with _importable_without_transformers():
        from calflops import calculate_flops
    with _collected(model, "__macs__") as own:
        _, macs, _ = calculate_flops(
            model, input_shape=tuple(image.shape), output_as_string=False, print_results=False, print_detailed=False
        )
    return int(macs), own


@contextlib.contextmanager
def _collected(model: nn.Module, attribute: str) -> Iterator[dict[str, int]]:
    """Gather the counts that a tool keeps in its modules while the model runs and removes in the end."""
    own: dict[str, int] = {}

    def collect(root: nn.Module, args: Any, output: Any) -> None:
        own.update({path: int(getattr(module, attribute, 0)) for path, module in root.named_modules() if path})

    handle = model.register_forward_hook(collect)
    try:
        yield own
    finally:
        handle.remove()


def drop_inner(own: Mapping[str, int]) -> dict[str, int]:
    """Without the counts inside modules that have one: ptflops 0.7.5 leaves those out of its total."""
    counted = {path for path, macs in own.items() if macs}
    return {
        path: macs
        for path, macs in own.items()
        if not any(path[:place] in counted for place, letter in enumerate(path) if letter == ".")
    }


def take_own(inclusive: Mapping[str, int]) -> dict[str, int]:
    """Counts that include the modules inside -> counts of each module by itself."""
    own = dict(inclusive)
    for path, macs in inclusive.items():
        parent = path
        while parent:
            parent = parent.rpartition(".")[0]
            if parent in own:
                own[parent] -= macs
                break
    return own


@contextlib.contextmanager
def _importable_without_transformers() -> Iterator[None]:
    """Calflops 0.3.2 imports transformers for a tokenizer that only language models need."""
    if find_spec("transformers") is not None:
        yield
        return
    stand_in = types.ModuleType("transformers")
    stand_in.__spec__ = ModuleSpec("transformers", None)
    vars(stand_in)["AutoTokenizer"] = object
    sys.modules["transformers"] = stand_in
    try:
        yield
    finally:
        del sys.modules["transformers"]


TOOLS = (
    Tool("fvcore", "fvcore", _ask_fvcore),
    Tool("torch FlopCounterMode (CPU)", "torch", _ask_torch),
    Tool("ptflops", "ptflops", _ask_ptflops),
    Tool("thop", "thop", _ask_thop),
    Tool("torchinfo", "torchinfo", _ask_torchinfo),
    Tool("calflops", "calflops", _ask_calflops),
)
"""The counters that are asked, in the order of the table."""
