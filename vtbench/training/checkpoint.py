"""The state of an unfinished run on disk: whole or absent, checked, and without code in it.

A checkpoint is a safetensors file; its metadata holds one JSON text for everything that is no tensor. Beside it lies
its SHA-256 in the format of ``sha256sum``, published after it. Files are numbered; the newest two are kept, and one
that is torn, altered or has no checksum yet is passed over for the one before.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from vtbench.files import parse_json, publish_bytes, publish_text, read_file

FORMAT = 2
"""The format of what a run saves: of other formats nothing is restored."""

_KEPT = 2
_METADATA_KEY = "vtbench"  # One key only: the order of several is not fixed, and equal states shall give equal files.


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors, and numbers, texts and lists that JSON can hold."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]


@dataclass(frozen=True)
class FoundCheckpoint:
    """The newest sound checkpoint of a folder, if any, and the files that were found damaged."""

    checkpoint: Checkpoint | None
    damaged: list[Path] = field(default_factory=list)


def pack_tensors(tensors: dict[str, Tensor], values: dict[str, Any]) -> bytes:
    """The bytes of a safetensors file. Equal content gives equal bytes; memory layouts and devices do not show."""
    plain = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return safetensors.torch.save(plain, metadata={_METADATA_KEY: json.dumps(values, sort_keys=True)})


def unpack_tensors(data: bytes) -> Checkpoint:
    """Read the bytes that `pack_tensors` gave. Raises ``safetensors.SafetensorError`` if they are none."""
    tensors = safetensors.torch.load(data)
    header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return Checkpoint(tensors, parse_json(header.get("__metadata__", {}).get(_METADATA_KEY, "{}")))


def publish_checkpoint(folder: Path, data: bytes) -> None:
    """Publish a checkpoint in ``folder``, as `pack_tensors` gave it, and drop all but the newest two."""
    known = _list_files(folder)
    path = folder / f"{_number(known[-1]) + 1 if known else 1:08d}.safetensors"
    publish_bytes(path, data)
    publish_text(_checksum_path(path), f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")
    for old in [*known, path][:-_KEPT]:
        _remove(old)


def find_checkpoint(folder: Path) -> FoundCheckpoint:
    """The newest checkpoint in ``folder`` whose content matches its checksum. Damaged files are removed.

    What is taken are the bytes that were verified: the file is read once.
    """
    damaged: list[Path] = []
    for path in reversed(_list_files(folder)):
        if (data := _read_sound(path)) is not None:
            return FoundCheckpoint(unpack_tensors(data), damaged)
        if _checksum_path(path).exists():  # Without one, the process died between the two files: that is no damage.
            damaged.append(path)
        _remove(path)
    return FoundCheckpoint(None, damaged)


def has_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` has a checkpoint that was saved whole. Nothing is read or removed, so that it may be asked
    while a run saves.
    """
    return any(_checksum_path(path).exists() for path in _list_files(folder))


def _list_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if path.stem.isdigit())


def _number(path: Path) -> int:
    return int(path.stem)


def _checksum_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _read_sound(path: Path) -> bytes | None:
    checksum = _checksum_path(path)
    if not checksum.exists():
        return None
    data = read_file(path)
    told = read_file(checksum).decode("utf-8", errors="replace").split()[:1]
    return data if told == [hashlib.sha256(data).hexdigest()] else None


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _checksum_path(path).unlink(missing_ok=True)
