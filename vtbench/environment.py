"""Which machine, which versions, which commit: the provenance of a number."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from vtbench.errors import UserError
from vtbench.mistakes import explain_device
from vtbench.records import EnvironmentRecord
from vtbench.units import format_items

if TYPE_CHECKING:
    import torch

_PACKAGES = ("torch", "torchvision", "numpy", "timm", "fvcore")


def count_started() -> int:
    """How many processes torchrun has started for one command, of which this is one; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` into a device that is there, else raise ``UserError``."""
    if (fault := explain_device(name)) is not None:
        raise UserError(fault)
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:  # A number that no machine counts to.
        raise UserError(f"There is no device named {name!r}: {error}.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"The device {name!r} was asked for, but this machine has "
            f"{format_items(torch.cuda.device_count(), 'CUDA device')}. Take another, or auto."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(
            "The device 'mps' was asked for, but this machine has no Apple GPU that torch can use. Take auto or cpu."
        )
    return device


def settle_device(name: str) -> str:
    """The spelling of the device that ``name`` is here, such as ``cuda`` for ``auto``; raises as `resolve_device`."""
    device = resolve_device(name)
    return device.type if device.index is None else str(device)


def describe_environment(device: torch.device) -> EnvironmentRecord:
    """Record machine, versions and commit for runs on ``device``."""
    import torch

    from vtbench import __version__

    commit, dirty = _find_commit()
    return EnvironmentRecord(
        vtbench=__version__,
        commit=commit,
        dirty=dirty,
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=_name_cpu(),
        num_cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _name_cpu(),
        packages={name: found for name in _PACKAGES if (found := find_version(name)) is not None},
    )


@cache
def find_version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _find_commit() -> tuple[str | None, bool | None]:
    """The commit of the checkout that this code runs from, or (None, None) for an installed wheel."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None, None
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    call = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    return call.stdout.strip()


def _name_cpu() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
