"""Shards in the format of WebDataset: tar files whose members of one name, save the endings, are one sample.

A tar file has no list of what is in it: to find its members, each header is read in turn. That is done once a file and
remembered in the cache folder, by path, size and time of change; from then on any sample is read from its place, so
that shards need not be read in order. ``a/0001.seg.png`` is of the sample ``a/0001`` and has the ending ``seg.png``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtbench.datasets.cache import find_cache_folder
from vtbench.datasets.data_files import DataFile, lies_still
from vtbench.datasets.dataset import DataError
from vtbench.datasets.memory import recall, remember
from vtbench.datasets.text_table import TextTable
from vtbench.datasets.walking import is_left_behind
from vtbench.errors import UserError

# Dimensions: N samples.

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST_SHARDS = 1_000_000

Place = tuple[int, int]
"""Where a member's content begins in its file, and its size, in bytes."""


@dataclass(frozen=True)
class Shard:
    """A tar file and its samples in their order: of each its name, and the place of each member by its ending."""

    file: DataFile
    samples: dict[str, dict[str, Place]]


@dataclass(frozen=True, eq=False)
class TarMembers:
    """One member of each of N samples: the number of its file in ``files``, its place there and its name."""

    files: tuple[DataFile, ...]
    shards: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    names: TextTable

    @classmethod
    def of_shard(cls, shard: Shard, endings: Sequence[str]) -> TarMembers:
        """That member of each sample of ``shard`` that has one of ``endings``; see `check_samples`."""
        chosen = [next(one for one in members if one in endings) for members in shard.samples.values()]
        places = [members[ending] for members, ending in zip(shard.samples.values(), chosen, strict=True)]
        offsets, sizes = np.asarray(places, np.int64).reshape(-1, 2).T
        names = [f"{sample}.{ending}" for sample, ending in zip(shard.samples, chosen, strict=True)]
        return cls((shard.file,), np.zeros(len(names), np.int64), offsets, sizes, TextTable.build(names))

    @classmethod
    def join(cls, parts: Sequence[TarMembers]) -> TarMembers:
        """Those of ``parts``, one after the other."""
        files = tuple(file for part in parts for file in part.files)
        firsts = np.cumsum([0, *(len(part.files) for part in parts)])
        shards = np.concatenate([part.shards + first for part, first in zip(parts, firsts[:-1], strict=True)])
        offsets, sizes = (np.concatenate([getattr(part, name) for part in parts]) for name in ("offsets", "sizes"))
        return cls(files, shards, offsets, sizes, TextTable.join([part.names for part in parts]))

    def __len__(self) -> int:
        return len(self.shards)

    def fetch(self, indices: NDArray[np.int64]) -> list[tuple[bytes, str]]:
        """The content of the members ``indices``, each with what to call it. Raises `DataError` for a changed file."""
        found: list[tuple[bytes, str]] = [(b"", "")] * len(indices)
        for number in np.unique(self.shards[indices]).tolist():
            file = self.files[number]
            file.check_unchanged()
            at = np.flatnonzero(self.shards[indices] == number)
            try:
                with file.path.open("rb", buffering=0) as stream:
                    for place, index in zip(at.tolist(), indices[at].tolist(), strict=True):
                        stream.seek(int(self.offsets[index]))
                        content = stream.read(int(self.sizes[index]))
                        found[place] = content, f"{self.names[index]} in {file.path}"
            except OSError as error:
                raise DataError(f"The file {file.path} cannot be read: {error.strerror}.") from error
        return found


def expand_braces(text: str) -> list[str]:
    """What ``text`` names: ``train-{000..002}.tar`` three files, ``{train,val}.tar`` two; without braces itself.

    Raises ``UserError`` for braces with neither a range nor a comma in them, or that are not closed.

    >>> expand_braces("{a,b}-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    names = [""]
    end = 0
    for found in _BRACES.finditer(text):
        inside = _list_inside(found[1], text)
        if len(names) * len(inside) > _MOST_SHARDS:
            raise UserError(f"{text!r} names more than {_MOST_SHARDS:,} files. Look at the ranges in its braces.")
        names = [name + text[end : found.start()] + one for name in names for one in inside]
        end = found.end()
    if "{" in text[end:] or "}" in _BRACES.sub("", text) or "{" in _BRACES.sub("", text):
        raise UserError(f"{text!r} has a brace without its other one. Write for example train-{{000..009}}.tar.")
    return [name + text[end:] for name in names]


def _list_inside(inside: str, text: str) -> list[str]:
    if match := _RANGE.fullmatch(inside):
        first, last, width = int(match[1]), int(match[2]), len(match[1])
        if first <= last < first + _MOST_SHARDS:
            return [f"{number:0{width}d}" for number in range(first, last + 1)]
    elif "," in inside:
        return inside.split(",")
    raise UserError(
        f"The braces {{{inside}}} of {text!r} name nothing. Write a range that ascends, such as {{000..009}}, or "
        "names, such as {train,val}."
    )


def open_shard(file: DataFile) -> Shard:
    """The samples of one tar file. Raises `DataError` when it is no whole one, or a name stands twice in it."""
    listed = _recall("members 1", file, lambda: [*_list_members(file)])
    samples: dict[str, dict[str, Place]] = {}
    for name, offset, size in listed:
        folder, _, base = name.rpartition("/")
        stem, dot, ending = base.partition(".")
        if not dot or not ending:
            raise DataError(
                f"{file.path} holds {name!r}, whose name has no ending, so that it cannot be seen what it is of its "
                "sample. Name it after its format, or take it out."
            )
        members = samples.setdefault(f"{folder}/{stem}" if folder else stem, {})
        if members.setdefault(ending.lower(), (offset, size)) != (offset, size):
            raise DataError(
                f"{file.path} holds {name!r} twice: which of them is of the sample cannot be seen. Write the shard "
                "anew, with a name of its own for each sample."
            )
    return Shard(file, samples)


def check_samples(shard: Shard, endings: Sequence[str], what: str) -> None:
    """Raise `DataError` unless every sample has exactly one member of ``endings``, which is its ``what``."""
    lacking = [sample for sample, members in shard.samples.items() if not any(one in endings for one in members)]
    if lacking:
        raise DataError(
            f"{len(lacking)} of the {len(shard.samples)} samples of {shard.file.path} have no {what} "
            f"(.{', .'.join(endings[:4])}{', ...' if len(endings) > 4 else ''}), the first {lacking[0]!r}, which has "
            f".{', .'.join(shard.samples[lacking[0]])}. Complete them, or take them out."
        )
    for sample, members in shard.samples.items():
        several = [one for one in members if one in endings]
        if len(several) > 1:
            raise DataError(
                f"The sample {sample!r} of {shard.file.path} has several members that may be its {what}: "
                f".{', .'.join(several)}. Name the one to take with {what}={several[0]}."
            )


def read_texts(shard: Shard, ending: str) -> list[str]:
    """The members of ``ending`` of all samples as texts; read once, and remembered as the list of members is."""

    def read() -> list[str]:
        members = TarMembers.of_shard(shard, [ending])
        texts = []
        for content, name in members.fetch(np.arange(len(members))):
            try:
                texts.append(content.decode("utf-8-sig").strip())
            except UnicodeDecodeError as error:
                raise DataError(f"The label {name} is no text in UTF-8. Write the shard anew.") from error
        return texts

    texts: list[str] = _recall(f"texts 1 {ending}", shard.file, read)
    return texts


def _recall(what: str, file: DataFile, find: Callable[[], Any]) -> Any:
    """What was found of ``file`` before; what `find` gives where that was never looked for."""
    key = f"{what}\0{file.path}\0{file.size}\0{file.modified_ns}"
    memory = find_cache_folder() / "shards" / hashlib.sha256(os.fsencode(key)).hexdigest()[:32]
    if (content := recall(memory)) is not None:
        return json.loads(content)
    found = find()
    if lies_still(file.modified_ns):
        remember(memory, json.dumps(found).encode())
    return found


def _list_members(file: DataFile) -> Iterator[tuple[str, int, int]]:
    """Name, begin and size of every file in a tar file, but what was left behind and what describes the shard."""
    try:
        with tarfile.open(file.path, "r:") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                base = Path(name).name
                if member.isdir() or is_left_behind(base) or (base.startswith("__") and base.endswith("__")):
                    continue
                if not member.isreg() or member.issparse():
                    raise DataError(f"{file.path} holds {name!r}, which is a link or no plain file. Write its content.")
                yield name, member.offset_data, member.size
            _check_end(file, tar.offset)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(
            f"{file.path} cannot be read as a tar file: {error}. Replace it; unpack it first if it is compressed, "
            "since samples are read from their places."
        ) from error


def _check_end(file: DataFile, end: int) -> None:
    """Raise `DataError` for a file without the empty block that closes a tar file: the rest may be missing."""
    with file.path.open("rb") as stream:
        stream.seek(end)
        if len(block := stream.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE or any(block):
            raise DataError(f"{file.path} is cut off: it has no end mark of a tar file. Copy or write it anew.")
