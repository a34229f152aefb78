"""Spoil good documents, files and folders: what Hypothesis draws, and what is listed."""

from __future__ import annotations

import copy
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

HUGE = 10**30
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, -(2**63), HUGE, -HUGE]),
    st.floats(),
    st.sampled_from(
        ["", " ", "\x1b[31mred", "a" * 5000, "\u202e", "../..", "/", "nan", "1", "true", "é", "%s", "{}", "\0"]
    ),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.lists(st.sampled_from([0, "x", None, 1.5]), max_size=3),
    st.integers(2, 300).map(lambda depth: _nest(depth)),
    st.just({"nested": {"deeper": [1]}}),
)
"""What stands where something else should."""


def _nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a tree of dictionaries and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _places(value, (*path, key))


@st.composite
def spoiled_trees(draw: Callable[..., Any], tree: dict[str, Any]) -> Any:
    """``tree`` with one to three keys dropped, renamed, added, moved or given another value."""
    spoiled = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(spoiled))
        if not places:
            break
        *above, key = draw(st.sampled_from(places))
        parent = spoiled
        for step in above:
            parent = parent[step]
        kind = draw(st.sampled_from(["drop", "rename", "add", "replace", "replace", "replace", "copy"]))
        if kind == "drop":
            del parent[key]
        elif kind == "replace":
            parent[key] = copy.deepcopy(draw(VALUES))
        elif kind == "copy":
            *other, last = draw(st.sampled_from(places))
            value = spoiled
            try:
                for step in (*other, last):
                    value = value[step]
                parent[key] = copy.deepcopy(value)
            except (KeyError, IndexError, TypeError):  # It went with what was dropped before.
                continue
        elif isinstance(parent, dict):
            name = draw(st.sampled_from([f"{key}x", str(key).upper(), "", "é", "a.b", "x" * 300, "__class__"]))
            parent[name] = parent.pop(key) if kind == "rename" else copy.deepcopy(draw(VALUES))
    return spoiled


def to_toml(tree: dict[str, Any]) -> str:
    """TOML with a line for each key; values that it does not have are left out."""
    return "".join(f"{_quote(key)} = {_inline(value)}\n" for key, value in tree.items() if value is not None)


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = (f"{_quote(key)} = {_inline(item)}" for key, item in value.items() if item is not None)
        return f"{{ {', '.join(inner)} }}"
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value if item is not None)}]"
    return _quote(value) if isinstance(value, str) else repr(value)


@st.composite
def spoiled_bytes(draw: Callable[..., Any], data: bytes) -> bytes:
    """``data`` cut, doubled, overwritten, in another encoding, or with bytes put in."""
    kind = draw(st.sampled_from(["cut", "overwrite", "insert", "repeat", "encode", "append", "zero"]))
    at = draw(st.integers(0, max(0, len(data) - 1)))
    end = draw(st.integers(at, min(len(data), at + 64)))
    if kind == "cut":
        return data[:at]
    if kind == "overwrite":
        return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[end:]
    if kind == "insert":
        return data[:at] + draw(st.sampled_from([b"\0", b"\xff\xfe", b"\x1b", b"[" * 3000, b"\r", b"{"])) + data[at:]
    if kind == "repeat":
        return data[:at] + data[at:end] * draw(st.integers(2, 50)) + data[end:]
    if kind == "append":
        return data + draw(st.sampled_from([b"\n\n", b"}", b"\0" * 8, data, b"x"]))
    if kind == "zero":
        return data[:at] + bytes(end - at) + data[end:]
    encoding = draw(st.sampled_from(["utf-16", "utf-32", "utf-8-sig", "latin-1"]))
    return data.decode("latin-1").encode(encoding)


def put_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def put_socket(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # Names of sockets are short.
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


IN_PLACE: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "empty": lambda path: path.touch(),
    "folder": put_folder,
    "pipe": lambda path: os.mkfifo(path),
    "socket": put_socket,
    "dangling link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to a device": lambda path: path.symlink_to("/dev/null"),
    "bytes": lambda path: path.write_bytes(bytes(range(256)) * 8) and None,
    "null": lambda path: path.write_text("null") and None,
    "list": lambda path: path.write_text("[1, 2]\n") and None,
    "brackets": lambda path: path.write_text("[" * 20_000) and None,
    "empty object": lambda path: path.write_text("{}\n") and None,
    "text": lambda path: path.write_text("é\u202e\x1b[31m\n" * 3) and None,
}
"""What lies where a file should."""


def replace(path: Path, kind: str) -> None:
    """Put what ``kind`` says in the place of the file ``path``."""
    path.unlink(missing_ok=True)
    IN_PLACE[kind](path)


def hold(check: Callable[..., None], num_examples: int, **strategies: st.SearchStrategy[Any]) -> None:
    """Hold ``check`` against so many examples, the same in every call."""
    quiet = settings(
        max_examples=num_examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    quiet(given(**strategies)(check))()
