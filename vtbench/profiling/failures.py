"""Why a model fails on its input, and what would mend that: one sentence for each cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vtbench.input_shapes import InputSpec
from vtbench.profiling.arguments import describe_given, list_parameters
from vtbench.profiling.errors import ProfileError, summarize_exception

_Mend = Callable[[nn.Module, Any, str], str | None]
_MOST_NAMES = 8
_ARGUMENTS = r"missing \d+ required|unexpected keyword|positional argument|You have to specify|'NoneType' object"
_FRAMES = r"expected 5, got 4|\(batched\) input to conv3d|expected 5D|must be 5|5 dimensions"
_SIZES = (
    r"smaller than kernel|greater than actual|too small|invalid for input of size|must match|cannot be multiplied|"
    r"divisible|broadcast|window|[Ii]nput (height|width|size|image|tensor|shape)|same shape|resolution|AssertionError"
)


def explain_failure(model: nn.Module, given: Any, error: Exception) -> ProfileError:
    """The model's own failure on what it was ``given``, where it was raised, and the mend."""
    text = f"{type(error).__name__}: {error}{' (nested tensor)' * _comes_of_nesting(error)}"
    mend = next((sentence for find in _MENDS if (sentence := find(model, given, text)) is not None), None)
    where = _find_place(error)
    return ProfileError(
        f"the model fails on an input of {describe_given(given)}: {summarize_exception(error)}"
        f"{f' (raised in {where})' if where and mend is None else ''}. "
        f"{mend or 'No option is known to mend that: run the model on such an input by itself to see more.'}"
    )


def explain_training_failure(error: Exception) -> str:
    """Why a pass in training mode failed, with the mend where one is known."""
    text = str(error)
    mend = ""
    if "more than 1 value per channel" in text:
        mend = "; a batch of 2 or more can be trained"
    elif "targets" in text:
        mend = "; in training the model takes targets, which inputs= in Python can give"
    return f"{summarize_exception(error)}{mend}"


def _name_arguments(model: nn.Module, given: Any, text: str) -> str | None:
    if not re.search(_ARGUMENTS, text):
        return None
    names, _ = list_parameters(model)
    if not names:
        return "Give each argument of forward as --input NAME=SHAPE (inputs= in Python)."
    missing = re.findall(r"'(\w+)'", text.partition("missing")[2]) or names[:2]
    examples = " ".join(f"--input {name}=SHAPE" for name in dict.fromkeys((names[0], *missing)))
    listing = ", ".join(names[:_MOST_NAMES]) + (" and more" if len(names) > _MOST_NAMES else "")
    return f"forward takes {listing}: give each that it needs, as {examples} (inputs= in Python)."


def _pad_nested(model: nn.Module, given: Any, text: str) -> str | None:
    if re.search("NestedTensor|nested tensor", text):
        return (
            "The model makes nested tensors, whose rows differ in length, so that shapes tell no cost: pad them "
            "to one length (torch.nested.to_padded_tensor) before its layers take them."
        )
    return None


def _give_frames(model: nn.Module, given: Any, text: str) -> str | None:
    layers = [one for one in model.modules() if isinstance(one, (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    is_image = _find_image(given) is not None
    if re.search(_FRAMES, text) or (is_image and layers and isinstance(layers[0], nn.Conv3d)):
        return (
            "The model takes frames or volumes: give channels, depth, height and width, as --input 3x16x112x112 "
            "(input_size takes only images; inputs= in Python)."
        )
    if is_image and layers and isinstance(layers[0], nn.Conv1d):
        return f"The model takes sequences: give --input {layers[0].in_channels}xLENGTH (inputs= in Python)."
    return None


def _give_channels(model: nn.Module, given: Any, text: str) -> str | None:
    image = _find_image(given)
    if not re.search("channel", text, re.IGNORECASE) or image is None:
        return None
    found = re.search(r"to have (\d+) channels, but got (\d+) channels", text)
    first = next((one for one in model.modules() if isinstance(one, nn.Conv2d)), None)
    wanted = int(found[1]) if found else first.in_channels if first is not None else None
    if wanted is None or wanted == image[1]:
        return None
    return f"A layer takes {wanted} channels where {image[1]} came: --channels {wanted} if it is the first."


def _give_ids(model: nn.Module, given: Any, text: str) -> str | None:
    if "indices" in text and re.search("Long|Int", text):
        return "It looks numbers up in a table: give them as integers, as --input NAME=LENGTH:int64."
    return None


def _give_dictionary(model: nn.Module, given: Any, text: str) -> str | None:
    if re.search(
        r"KeyError|invalid data type 'str'|only integers|too many indices|must be integers|no attribute",
        text,
    ):
        first = next(iter(list_parameters(model)[0]), "ARGUMENT")
        return (
            f"If forward takes a dictionary or a list, give its parts, as --input {first}.KEY=3x224x224 or "
            f"--input {first}.0=3x224x224:unbatched (inputs= in Python)."
        )
    return None


def _give_batch(model: nn.Module, given: Any, text: str) -> str | None:
    return "Give a batch of 2 or more: --batch-size 2." if "more than 1 value per channel" in text else None


def _give_less(model: nn.Module, given: Any, text: str) -> str | None:
    if re.search("out of memory|not enough memory|can't allocate", text):
        return "The memory of this machine does not hold its values: give a smaller size or batch."
    return None


def _name_device(model: nn.Module, given: Any, text: str) -> str | None:
    if re.search("NVIDIA|No CUDA|not compiled with CUDA|CUDA error|triton", text):
        return "It asks for a GPU by name, and counting needs none: let the model take the device of its input."
    return None


def _give_size(model: nn.Module, given: Any, text: str) -> str | None:
    if not re.search(_SIZES, text):
        return None
    return "Check the input size: give another --image-size (leave it out to take what a named model is quoted at)."


_MENDS: Sequence[_Mend] = (
    _pad_nested, _name_arguments, _give_frames, _give_channels, _give_ids, _give_batch, _give_less, _name_device,
    _give_dictionary, _give_size,
)  # fmt: skip


def _find_image(given: Any) -> tuple[int, ...] | None:
    """The shape (B, C, H, W) if that, and no more, is what the model was given."""
    if isinstance(given, tuple) and len(given) == 1 and isinstance(given[0], InputSpec):
        given = given[0].shape
    return given if isinstance(given, tuple) and len(given) == 4 and isinstance(given[0], int) else None


def _comes_of_nesting(error: Exception) -> bool:
    """Whether torch's code for nested tensors was under way."""
    frames = error.__traceback__
    while frames is not None:
        if str(frames.tb_frame.f_globals.get("__name__", "")).startswith("torch.nested"):
            return True
        frames = frames.tb_next
    return False


def _find_place(error: Exception) -> str | None:
    """File and line of the innermost code that is neither torch's nor ours."""
    place = None
    frames = error.__traceback__
    while frames is not None:
        name = str(frames.tb_frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] not in ("torch", "vtbench"):
            place = f"{Path(frames.tb_frame.f_code.co_filename).name}, line {frames.tb_lineno}"
        frames = frames.tb_next
    return place
