"""Parquet tables, masks and the cache of decoded images, spoiled byte by byte and by what lies in their place."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from calling import Answer, call, check_answer, check_nothing_left
from good_inputs import TINY_MODEL
from hypothesis import strategies as st
from kept_folders import TINY_SEGMENTER
from PIL import Image
from spoiling import IN_PLACE, hold, replace, spoiled_bytes

from vtbench.datasets.cache import find_cache_folder

EXAMPLES = [4, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.not_in_ci])]
SOME = [what if index % 7 == 0 else pytest.param(what, marks=pytest.mark.slow) for index, what in enumerate(IN_PLACE)]


def encode(pixels: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


OTHERS = {
    "gzip": b"\x1f\x8b\x08\0" + bytes(200),
    "an image": encode(np.zeros((16, 16, 3), np.uint8), "png"),
    "an Arrow file": b"ARROW1\0\0" + bytes(200) + b"ARROW1",
    "a pointer to large files": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
    "parquet at both ends": b"PAR1" + bytes(64) + (48).to_bytes(4, "little") + b"PAR1",
    "a footer of 4 GB": b"PAR1" + bytes(64) + b"\xff\xff\xff\xff" + b"PAR1",
    "an encrypted footer": b"PARE" + bytes(64) + (48).to_bytes(4, "little") + b"PARE",
    "a table of no columns": b"",
}
"""Files of another format, or of none, under the name of a table."""


@pytest.fixture
def tables(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images with labels and masks in a table a split; the cache is the test's own."""
    monkeypatch.setenv("VTBENCH_CACHE", str(place / "cache"))
    draw = np.random.default_rng(0)
    (place / "tables").mkdir()
    for split in ("train", "val"):
        images = [encode(draw.integers(0, 256, (32, 32, 3), np.uint8), "png") for _ in range(8)]
        masks = [encode(np.arange(32 * 32, dtype=np.uint8).reshape(32, 32) % 2, "png") for _ in range(8)]
        columns = {
            name: [{"bytes": data, "path": None} for data in cells]
            for name, cells in (("image", images), ("mask", masks))
        }
        pq.write_table(
            pa.table({**columns, "label": [0, 1] * 4}), place / "tables" / f"{split}.parquet", row_group_size=3
        )
    return place


def train(place: Path, task: str) -> Answer:
    """Begin a run on the tables; the data are read, nothing is trained."""
    shutil.rmtree(place / "out", ignore_errors=True)
    segment = ("train", TINY_SEGMENTER, "--data", "parquet:tables,num_classes=2", "--recipe", "segmentation_small")
    classify = ("train", TINY_MODEL, "--data", "parquet:tables", "--recipe", "small")
    words = segment if task == "segment" else classify
    answer = call([*words, "--image-size", "32", "--device", "cpu", "--threads", "1", "--out", "out/deeper"])
    check_answer(answer)
    check_nothing_left(place / "out", answer)
    return answer


def judge(place: Path, task: str, *, refused: bool | None = None) -> None:
    """The command takes the tables or refuses them, naming the file at fault."""
    shutil.rmtree(place / "cache", ignore_errors=True)
    answer = train(place, task)
    assert answer.code in (0, 1, 2) and refused in (None, answer.code != 0), answer.err  # 1: it cannot even be opened.
    assert answer.code == 0 or "tables" in answer.err, answer.err


@pytest.mark.parametrize("task", ["classify", "segment"])
def test_good_tables_are_taken(task: str, tables: Path) -> None:
    judge(tables, task, refused=False)


@pytest.mark.parametrize("num_examples", EXAMPLES)
@pytest.mark.parametrize("task", ["classify", "segment"])
def test_a_table_with_spoiled_bytes_is_refused_by_name_or_does_no_harm(
    task: str, num_examples: int, tables: Path
) -> None:
    table = tables / "tables" / "train.parquet"
    data = table.read_bytes()

    def check(spoiled: bytes) -> None:
        table.write_bytes(spoiled)
        judge(tables, task)

    hold(check, num_examples, spoiled=st.one_of(spoiled_bytes(data), *spoil_ends(data), flip(data)))


def spoil_ends(data: bytes) -> Iterator[st.SearchStrategy[bytes]]:
    """``data`` with the footer, which says where everything lies, spoiled, or its first page."""
    at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    yield spoiled_bytes(data[at:]).map(lambda end: data[:at] + end)
    yield spoiled_bytes(data[:200]).map(lambda start: start + data[200:])


def flip(data: bytes) -> st.SearchStrategy[bytes]:
    """``data`` with one bit turned over."""

    def turn(bit: int) -> bytes:
        turned = bytearray(data)
        turned[bit // 8] ^= 1 << bit % 8
        return bytes(turned)

    return st.integers(0, 8 * len(data) - 1).map(turn)


@pytest.mark.parametrize("what", [*OTHERS, *SOME])
def test_something_else_in_the_place_of_a_table_is_refused_by_name(what: str, tables: Path) -> None:
    table = tables / "tables" / "train.parquet"
    if what in OTHERS:
        table.write_bytes(OTHERS[what])
    else:
        replace(table, what)
    if what == "a table of no columns":
        pq.write_table(pa.table({}), table)
    judge(tables, "classify", refused=True)


@pytest.mark.parametrize("num_examples", EXAMPLES)
def test_a_mask_with_spoiled_bytes_is_refused_or_does_no_harm(num_examples: int, tables: Path) -> None:
    table = tables / "tables" / "train.parquet"
    good = pq.read_table(table)
    rows = good["mask"].to_pylist()

    def check(spoiled: bytes) -> None:
        column = pa.array([{"bytes": spoiled, "path": None}, *rows[1:]], good["mask"].type)
        pq.write_table(good.set_column(1, "mask", column), table)
        judge(tables, "segment")

    data = rows[0]["bytes"]
    hold(check, num_examples, spoiled=st.one_of(spoiled_bytes(data), flip(data)))


CACHE_HOLDS = ("", "half", "zeros", "turned", "twice", "brackets")
CACHE_PLACES = ("nothing", "pipe", "folder", "link to itself", "dangling link", "link to a device")
LONG = [pytest.mark.slow, pytest.mark.not_in_ci]


def spoil_file(file: Path, how: str) -> None:
    """Put other bytes into a file of the cache, or something else into its place."""
    if how in CACHE_PLACES:
        replace(file, how)
        return
    data = file.read_bytes()
    holds = (b"", data[: len(data) // 2], bytes(len(data)), data[:-1] + bytes([data[-1] ^ 1]), 2 * data, b"[" * 20_000)
    file.write_bytes(holds[CACHE_HOLDS.index(how)])


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=() if how in ("pipe", "turned") else LONG) for how in (*CACHE_HOLDS, *CACHE_PLACES)]
)
def test_a_spoiled_cache_is_made_anew_or_done_without(how: str, tables: Path) -> None:
    assert train(tables, "classify").code == 0
    files = [path for path in find_cache_folder().rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".u8", ".json"}
    for file in files:
        spoil_file(file, how)
    answer = train(tables, "classify")
    assert answer.code == 0, answer.err
