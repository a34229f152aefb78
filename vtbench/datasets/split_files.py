"""Which files of a folder are of which split, by what their names and those of their folders start with.

``train-00000-of-00002.parquet``, ``train/0000.parquet`` and ``fold_a/validation.parquet`` say it. Files of one split
are of one export: they lie in one subset, are numbered alike without gaps, and no two are the same.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vtbench.datasets.data_files import DataFile, fingerprint_files
from vtbench.datasets.dataset import DataError, Split
from vtbench.datasets.walking import walk_files
from vtbench.errors import UserError, format_names

_SPLIT_WORD = re.compile(r"(train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?)(?![a-z])", re.IGNORECASE)
_MEANS: dict[str, str] = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
_SHARD = re.compile(r"(.*?)(\d+)-of-(\d+)(?!\d)")
_UNFINISHED = frozenset({".aria2", ".crdownload", ".download", ".incomplete", ".part", ".partial", ".tmp"})
_MOST_LISTED = 8


@dataclass(frozen=True)
class Wanted:
    """What the user named: files of each split, by a split's word or by names joined with ``+``, and a subset.

    ``kind`` is that of the data set, as ``--data`` spells it, and ``ending`` that of its files.
    """

    train: str | None = None
    val: str | None = None
    subset: str | None = None
    kind: str = "parquet"
    ending: str = ".parquet"

    @property
    def one_file(self) -> str:
        """What messages call a file."""
        return f"{self.ending[1:]} file"


def list_tables(path: Path, wanted: Wanted = Wanted()) -> list[DataFile]:
    """The files of the kind at or below ``path``, of the subset that is ``wanted``, by name."""
    root = path if path.is_dir() else path.parent
    paths = list(_walk_tables(path, wanted.ending)) if path.is_dir() else [path]
    return take_subset(sorted((DataFile.find(found, root) for found in paths), key=lambda file: file.path), wanted)


def take_subset(files: list[DataFile], wanted: Wanted) -> list[DataFile]:
    """Of ``files`` those of the subset that is ``wanted``. Raises ``UserError`` where there are none."""
    if wanted.subset is None:
        return files
    found = [file for file in files if _find_subset(file.name) == wanted.subset.rstrip("/")]
    if not found:
        there = _list(sorted({_find_subset(file.name) for file in files})) or "none"
        raise UserError(f"There is no subset {wanted.subset!r} of {wanted.one_file}s; there are: {there}.")
    return found


def says_nothing_of_splits(files: Sequence[DataFile], wanted: Wanted) -> bool:
    """Whether no name of a file or folder tells a split, and the user names none of them."""
    asked = [name.strip() for _, text in _list_named(wanted) for name in text.split("+")]
    return not any(list_split_words(file.name) or any(_goes_by(file.name, name) for name in asked) for file in files)


def find_files(path: Path, wanted: Wanted = Wanted()) -> dict[Split, tuple[DataFile, ...]]:
    """The files of both splits at or below ``path``, by name; ``val`` is ``test`` where there is no other.

    Raises ``UserError`` if a split is missing, and if it is not certain which files it has.
    """
    return choose_files(list_tables(path, wanted), str(path), wanted)


def choose_files(files: Sequence[DataFile], path: str, wanted: Wanted) -> dict[Split, tuple[DataFile, ...]]:
    """Of ``files`` those of both splits, as `find_files` does it; ``path`` is where they lie, as the user says it."""
    kind = wanted.kind
    named = {split: _take_named(files, path, split, text, wanted.one_file) for split, text in _list_named(wanted)}
    by_word: dict[str, list[DataFile]] = defaultdict(list)
    if len(named) < 2:
        taken = {file for chosen in named.values() for file in chosen}
        for file in files:
            if file not in taken:
                by_word[_tell_split(file)].append(file)
    train = named.get("train") or by_word["train"]
    val = named.get("val") or by_word["val"] or by_word["test"]
    if not train and all(_tell_split(file) == "train" for file in val):
        train = val
    if not train:
        inside = _list(file.path.name for file in files) or f"no {wanted.one_file}"
        raise UserError(
            f"{path} has no train split: no name of a file in it starts with train; it holds {inside}. "
            f"Name its files with {kind}:{path},train=NAME."
        )
    if not val:
        raise UserError(
            f"{path} has no val split: no name of a file in it starts with val, valid or test. "
            f"Name its files with {kind}:{path},val=NAME."
        )
    if both := set(train) & set(val):
        raise UserError(
            f"{min(file.name for file in both)} in {path} is to be trained and validated on. "
            "Name other files with train= or val=."
        )
    found: dict[Split, tuple[DataFile, ...]] = {"train": tuple(train), "val": tuple(val)}
    joined = [split for split, text in _list_named(wanted) if "+" in text]
    uncertain = {split: [file.name for file in some] for split, some in found.items() if split not in joined}
    check_exports(uncertain, f"{kind}:{path}", f"{kind}:{path},subset=")
    if len(named) < 2:
        check_one_subset({split: [file.name for file in some] for split, some in found.items()}, f"{kind}:{path}")
    for chosen in found.values():
        _check_different(chosen)
    return found


def name_splits(files: Mapping[Split, Sequence[DataFile]], wanted: Wanted) -> dict[str, str]:
    """What the data call the files that were taken for each split: ``{"train": "train", "val": "test"}``."""
    named = dict(_list_named(wanted))
    return {split: named.get(split) or _tell_split(files[split][0]) for split in files}


def check_exports(names: Mapping[Split, Sequence[str]], spelling: str, narrower: str) -> None:
    """Raise ``UserError`` unless the files of each split, by their paths, are one export of one subset.

    ``narrower`` is how ``--data`` takes a subset alone, up to its name.
    """
    for split, paths in names.items():
        subsets = sorted({_find_subset(name) for name in paths})
        if len(subsets) > 1:
            raise UserError(
                f"{spelling} has {len(paths)} files of the {split} split in {len(subsets)} places ({_list(subsets)}): "
                "subsets, or the same data twice, and it cannot be seen which are meant. Name one place, as with "
                f"{narrower}{subsets[-1]}, or put files that belong together into one folder."
            )
        _check_numbered_alike(split, paths, spelling)


def check_one_subset(names: Mapping[Split, Sequence[str]], spelling: str) -> None:
    """Raise ``UserError`` when the files of one split lie in another subset than those of the other."""
    train, val = (_find_subset(names[split][0]) for split in ("train", "val"))
    if train != val and "." not in (train, val):
        raise UserError(
            f"{spelling} has its train split in {train} and its val split in {val}: these may be two data sets. Name "
            "the files of both with train=NAME and val=NAME, or put those that belong together into one folder."
        )


def _walk_tables(folder: Path, ending: str) -> Iterator[Path]:
    for found in walk_files(folder):
        if found.suffix.lower() == ending:
            yield found
        elif found.suffix.lower() in _UNFINISHED and ending in found.name.lower():
            raise UserError(f"{found} is by its name a download that is not finished. Finish it, or take it away.")


def _check_numbered_alike(split: Split, names: Sequence[str], spelling: str) -> None:
    shards: dict[str, list[tuple[int, int]]] = defaultdict(list)
    patterns: dict[str, str] = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if found := _SHARD.match(stem):
            shards[str(PurePosixPath(name).parent)].append((int(found[2]), int(found[3])))
            patterns.setdefault(f"{found[1]}#-of-#", name)
        else:
            patterns.setdefault(re.sub(r"\d+", "#", stem), name)
    if len(patterns) > 1:
        first, second, *_ = patterns.values()
        raise UserError(
            f"{spelling} has files of the {split} split that are not named alike, such as {first} and {second}: they "
            f"may be the same data twice. Name those to take with {spelling},{split}=NAME, several as NAME+NAME."
        )
    _check_counted(split, names, spelling)
    for folder, numbered in shards.items():
        total = numbered[0][1]
        if sorted(numbered) not in ([(n, total) for n in range(total)], [(n + 1, total) for n in range(total)]):
            said = ", ".join(f"{number} of {of}" for number, of in sorted(numbered)[:_MOST_LISTED])
            raise UserError(
                f"The files of the {split} split of {spelling} in {folder} are numbered {said}: some are missing, or "
                "of another export. Complete them, or take the others away."
            )


def _check_counted(split: Split, names: Sequence[str], spelling: str) -> None:
    """Raise ``UserError`` when files that are numbered from 0 or 1, and not ``of`` how many, lack a number between."""
    by_folder: dict[PurePosixPath, list[tuple[int, ...]]] = defaultdict(list)
    for path in map(PurePosixPath, names):
        if not _SHARD.match(path.stem):
            by_folder[path.parent].append(tuple(map(int, re.findall(r"\d+", path.stem))))
    for folder, numbers in by_folder.items():
        columns = [sorted(column) for column in zip(*numbers, strict=True) if len(set(column)) > 1]
        if len(columns) != 1 or columns[0][0] > 1:
            continue
        if lacking := sorted(set(range(columns[0][0], columns[0][-1])) - set(columns[0])):
            raise UserError(
                f"The files of the {split} split of {spelling} in {folder} are numbered from {columns[0][0]} to "
                f"{columns[0][-1]} without {_list(map(str, lacking))}. Complete them, or name those to take with "
                f"{split}=NAME+NAME."
            )


def _check_different(files: Sequence[DataFile]) -> None:
    by_size: dict[int, list[DataFile]] = defaultdict(list)
    for file in files:
        by_size[file.size].append(file)
    for alike in by_size.values():
        seen: dict[str, DataFile] = {}
        for file in alike if len(alike) > 1 else ():
            content = fingerprint_files([DataFile("", file.path, file.size, file.modified_ns)])
            if first := seen.get(content):
                raise DataError(f"{first.path} and {file.path} are the same file twice. Take one away.")
            seen[content] = file


def _list_named(wanted: Wanted) -> list[tuple[Split, str]]:
    named: list[tuple[Split, str | None]] = [("train", wanted.train), ("val", wanted.val)]
    return [(split, text) for split, text in named if text is not None]


def _take_named(files: Sequence[DataFile], path: str, split: Split, text: str, one_file: str) -> list[DataFile]:
    found: list[DataFile] = []
    for name in text.split("+"):
        matching = [file for file in files if _goes_by(file.name, name.strip())]
        if not matching:
            raise UserError(
                f"{path} has no file for {split}={text}: no name of a file or folder in it is or starts with "
                f"{name!r}; it holds {_list(file.name for file in files) or f'no {one_file}'}."
            )
        found += [file for file in matching if file not in found]
    return found


def _goes_by(path: str, name: str) -> bool:
    """Whether a file, or a folder on the way to it, is called ``name``, or its split is."""
    parts = [PurePosixPath(path).name, PurePosixPath(path).stem, *PurePosixPath(path).parts[:-1]]
    if any(part == name or re.match(rf"{re.escape(name)}(?![a-zA-Z0-9])", part) for part in parts):
        return True
    word = name.lower()
    return list_split_words(path)[:1] == [_MEANS.get(word, word)]


def _tell_split(file: DataFile) -> str:
    """The split that a file is of. Raises ``UserError`` when its path names none or several."""
    words = list_split_words(file.name)
    if len(set(words)) != 1:
        cause = f"its path names {' and '.join(dict.fromkeys(words))}" if words else "no name in its path says so"
        raise UserError(
            f"It cannot be seen which split {file.path} is of: {cause}. Let the name of the file, or of its folder, "
            "start with train, val, valid or test, or name the files of both splits with train=NAME and val=NAME."
        )
    return words[0]


def list_split_words(path: str) -> list[str]:
    """The splits that names in ``path`` start with: that of the file first, then of its folders, inner to outer.

    >>> list_split_words("training/valid-0.parquet"), list_split_words("constrained/0.parquet")
    (['val', 'train'], [])
    """
    words = []
    for part in reversed(PurePosixPath(path).parts):
        if match := _SPLIT_WORD.match(part):
            rest = re.split(r"[^a-zA-Z]+", part[match.end() :])
            words += [word.lower() for word in (match[1], *rest) if _SPLIT_WORD.fullmatch(word)]
    return [_MEANS.get(word, word) for word in words]


def _find_subset(path: str) -> str:
    """The folders on the way to a file that say neither its split nor, as ``year=2020`` does, a part; ``.`` if none."""
    folders = PurePosixPath(path).parts[:-1]
    return "/".join(folder for folder in folders if not _SPLIT_WORD.match(folder) and "=" not in folder) or "."


def _list(names: Iterable[str]) -> str:
    return format_names(names, most=_MOST_LISTED)
