"""Many models in one go: each becomes a row, refused ones with the reason, in one process or several."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from vtbench.environment import find_version
from vtbench.errors import UserError
from vtbench.profiling.errors import summarize_exception
from vtbench.profiling.profile import ProfileSettings, profile_source
from vtbench.profiling.sources import resolve_source
from vtbench.records import NotMeasured
from vtbench.records.profile import Profile, ZooRow
from vtbench.variants import LIBRARIES


@dataclass(frozen=True)
class ZooRequest:
    """How every model is counted; ``None`` takes what the model is quoted with."""

    settings: ProfileSettings = field(default_factory=ProfileSettings)
    image_size: tuple[int, int] | None = None
    channels: int | None = None
    num_classes: int | None = None
    batch_size: int = 1

    def spell(self) -> dict[str, str]:
        """What was asked beyond the defaults, as the command line names it."""
        size = None if self.image_size is None else "x".join(map(str, self.image_size))
        given = {"input-size": size, "channels": self.channels, "num-classes": self.num_classes}
        given |= {"batch": self.batch_size if self.batch_size > 1 else None}
        standard = ProfileSettings()
        for name in ("training", "backward", "activations", "count_contractions", "require_coverage", "fuse"):
            value = getattr(self.settings, name)
            given[name.replace("_", "-")] = None if value == getattr(standard, name) else value
        return {name: str(value) for name, value in given.items() if value is not None}


def count_zoo(
    names: Sequence[str], request: ZooRequest, *, jobs: int = 1, prepare: Callable[[], None] | None = None
) -> Iterator[ZooRow]:
    """Count every one of ``names``, in ``jobs`` processes; rows come as they are done, of one process in order.

    ``prepare`` is called first in each further process; it registers the models. Raises ``UserError`` when a process is
    killed, by the system for want of memory, say.
    """
    if jobs == 1:
        for name in names:
            yield count_row(name, request)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=prepare)
    try:
        tasks = [pool.submit(count_row, name, request) for name in names]
        for task in as_completed(tasks):
            yield task.result()
    except BrokenProcessPool as error:
        raise UserError(
            "A process that counts was killed, perhaps for want of memory. Repeat the command with fewer --jobs; with "
            "--out it goes on where it was."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def count_row(name: str, request: ZooRequest) -> ZooRow:
    """The row of one model."""
    start = time.process_time()
    try:
        with _at_full_speed(name):
            source = resolve_source(
                name, image_size=request.image_size, channels=request.channels, num_classes=request.num_classes
            )
            settings = replace(request.settings, parts=False)
            row = shorten_profile(profile_source(source, settings, batch_size=request.batch_size))
    except UserError as error:
        row = ZooRow(model=name, refused=" ".join(str(error).removeprefix(f"{name}: ").split()))
    except Exception as error:  # One model that nobody foresaw does not take the others with it.
        row = ZooRow(model=name, refused=f"the profiler itself fails: {summarize_exception(error)}")
    seconds = round(time.process_time() - start, 3)
    return row.model_copy(
        update={"model": name, "cpu_seconds": seconds, "asked": request.spell(), "packages": list_packages(name)}
    )


def shorten_profile(counted: Profile) -> ZooRow:
    """A profile without its parts."""
    kept, step = counted.activations, counted.training
    notes = counted.notes
    for value, what in ((kept, "activations"), (step, "training step")):
        if isinstance(value, NotMeasured) and value.reason != "not asked for":
            notes = (*notes, f"{what} not counted: {value.reason}")
    return ZooRow(
        model=counted.model,
        input_size=counted.input_size,
        macs=counted.macs,
        params=counted.params,
        buffers=counted.parameters.buffers,
        idle_params=counted.parameters.idle,
        activation_elements=getattr(kept, "elements", None),
        activation_bytes=getattr(kept, "bytes", None),
        training_step_macs=getattr(step, "macs", None),
        covered_macs=counted.covered_macs,
        stated_only_macs=counted.stated_only_macs,
        unstated=counted.unstated,
        traced_on=counted.traced_on,
        notes=notes,
    )


def list_packages(name: str) -> dict[str, str]:
    """The versions on which the count of a model depends."""
    library = name.partition(":")[0]
    wanted = ("vtbench", "torch", *((library,) if library in LIBRARIES else ()))
    return {package: found for package in wanted if (found := find_version(package)) is not None}


@contextmanager
def _at_full_speed(name: str) -> Iterator[None]:
    """Import what ``name`` needs for good, and collect no garbage and print no warnings of libraries inside.

    Looking through all objects time and again is a fifth of the work. What a model leaves is collected after it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    library = name.partition(":")[0]
    try:
        if library in LIBRARIES and library not in sys.modules and find_version(library) is not None:
            importlib.import_module(library)
            gc.freeze()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if was_enabled:
            gc.enable()
