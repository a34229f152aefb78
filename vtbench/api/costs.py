"""`profile`: the cost of a model that is given by name, or of any module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vtbench.errors import UserError
from vtbench.mistakes import read_count

if TYPE_CHECKING:
    from torch import nn

    from vtbench.records.profile import Profile

InputSize = int | Sequence[int]


def profile(
    model: nn.Module | str,
    input_size: InputSize | None = None,
    *,
    num_classes: int | None = None,
    name: str | None = None,
    channels: int | None = None,
    batch_size: int = 1,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    training: bool = False,
    backward: bool = False,
    activations: bool = True,
    count_contractions: bool = False,
    at_limits: bool = False,
    fuse: bool = False,
) -> Profile:
    """Count what ``model`` costs: a name as ``vtbench profile`` takes it, or a module.

    A name ``FILE.py:CALLABLE`` runs that file's code.

    ``input_size`` is a side, (H, W), (C, H, W) or (B, C, H, W); None takes what a named model is quoted at, and 224 for
    a module. ``num_classes`` belongs to names; a module has its own. ``inputs`` are arguments of ``forward`` instead of
    an image, and the other options are those of `vtbench.profiling.profile`, which does the work for modules.

    Raises `vtbench.errors.UserError` for a name or value that there is not, and `ProfileError`, which is one, where the
    cost cannot be told with certainty.

    >>> import vtbench
    >>> vtbench.profile("vt_resnet18:num_tokens=8")
    Profile(vt_resnet18:num_tokens=8 at 1x3x224x224: 1,513.53 M MACs, 11.66 M parameters)
    >>> from torch import nn
    >>> counted = vtbench.profile(nn.Conv2d(3, 4, 3, padding=1), 8)
    >>> counted.macs, counted.params
    (6912, 112)
    """
    settings: dict[str, Any] = {
        "training": training,
        "backward": backward,
        "activations": activations,
        "count_contractions": count_contractions,
        "at_limits": at_limits,
        "fuse": fuse,
    }
    if num_classes is not None:
        num_classes = read_count("vtbench.profile: num_classes", num_classes)
    if channels is not None:
        channels = read_count("vtbench.profile: channels", channels)
    batch_size = read_count("vtbench.profile: batch_size", batch_size)
    if isinstance(model, str):
        return _profile_name(model, input_size, num_classes, channels, batch_size, inputs, settings)
    from vtbench.profiling.profile import profile as profile_module

    if num_classes is not None:
        raise UserError("num_classes belongs to a model that is given by name; a module has the classes it has.")
    size, planes = 224 if input_size is None else input_size, 3 if channels is None else channels
    return profile_module(model, size, name=name, channels=planes, batch_size=batch_size, inputs=inputs, **settings)


def _profile_name(
    text: str,
    input_size: InputSize | None,
    num_classes: int | None,
    channels: int | None,
    batch_size: int,
    inputs: Sequence[Any] | Mapping[str, Any] | None,
    settings: dict[str, Any],
) -> Profile:
    import vtbench.models  # noqa: F401  (fills the registry)
    from vtbench.profiling.inputs import resolve_input_shape
    from vtbench.profiling.profile import ProfileSettings, profile_source, profile_subject
    from vtbench.profiling.sources import make_subject, resolve_source

    image_size = None
    if input_size is not None:
        planes = 3 if channels is None else channels
        batch_size, planes, *sides = resolve_input_shape(input_size, channels=planes, batch_size=batch_size)
        image_size = (sides[0], sides[1])
        channels = planes if channels is not None or planes != 3 else None
    source = resolve_source(text, image_size=image_size, channels=channels, num_classes=num_classes)
    wanted = ProfileSettings(**settings)
    if inputs is None:
        return profile_source(source, wanted, batch_size=batch_size)
    given = dict(inputs) if isinstance(inputs, Mapping) else list(inputs)
    return profile_subject(make_subject(source), given, wanted)
