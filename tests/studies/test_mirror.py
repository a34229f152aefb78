"""A study's folder in a store: what is sent, in which order, what is fetched, and a store that fails in between."""

import json
import sys
import uuid
from pathlib import Path

import pytest
from fsspec.registry import _registry
from stand_in_cells import make_study

from vtbench.errors import UserError
from vtbench.stores import Store, StoreError
from vtbench.studies import mirror
from vtbench.studies.cells import ResolvedStudy
from vtbench.studies.ledger import Ledger
from vtbench.studies.mirror import Mirror, fetch_study

CELL = "cells/good/seed-0"


@pytest.fixture
def store() -> Store:
    return Store(f"memory://{uuid.uuid4().hex}/study")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study with a cell that has ended, one that was begun, locks, and a file that is being written."""
    Ledger(tmp_path / "here").adopt(make_study())
    for name in (
        f"{CELL}/record.json", f"{CELL}/weights.safetensors", f"{CELL}/.lock", "lock",
        "cells/good/seed-1/checkpoint/00000001.safetensors", "cells/good/seed-1/checkpoint/00000001.sha256",
        "cells/good/seed-1/.config.json.partial",
    ):  # fmt: skip
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "here"


def list_content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetch(store: Store, folder: Path, study: ResolvedStudy | None = None) -> list[str]:
    said: list[str] = []
    fetch_study(store, folder, study or make_study(), said.append)
    return said


def test_what_was_sent_is_fetched_where_the_folder_is_gone_without_locks(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    kept = {name for name in list_content(folder) if "lock" not in name and not name.endswith((".partial", "re.json"))}
    assert set(store.list_files()) == kept
    assert fetch(store, tmp_path / "there") == [f"Fetching {len(kept)} files of the study from {store.url}."]
    assert list_content(tmp_path / "there") == {name: (folder / name).read_bytes() for name in kept}
    assert fetch(store, tmp_path / "there") == []


def test_nothing_is_sent_before_there_is_a_study_which_is_sent_before_all_else(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (folder / "study.json").read_bytes()
    (folder / "study.json").unlink()
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    assert store.list_files() == {}
    written = []
    write = Store.write
    monkeypatch.setattr(Store, "write", lambda self, name, data: (written.append(name), write(self, name, data)))
    mirrored = Mirror(store, folder, pytest.fail)
    (folder / "study.json").write_bytes(told)
    mirrored.note(folder / CELL)
    assert mirrored.close(within_seconds=30) is None
    assert written[0] == "study.json" and f"{CELL}/record.json" in written


def test_files_travel_so_that_the_store_can_be_taken_up_at_any_moment_and_old_checkpoints_go(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    write, remove = Store.write, Store.remove

    def note_write(self: Store, name: str, data: bytes) -> None:
        asked.append(name)
        write(self, name, data)

    def note_remove(self: Store, name: str) -> None:
        asked.append(f"-{name}")
        remove(self, name)

    monkeypatch.setattr(Store, "write", note_write)
    monkeypatch.setattr(Store, "remove", note_remove)
    one = Mirror(store, folder, pytest.fail)
    assert one.close(within_seconds=30) is None
    checkpoint = "cells/good/seed-1/checkpoint/0000000{}.{}"
    old = [checkpoint.format(1, "safetensors"), checkpoint.format(1, "sha256")]
    assert asked == ["study.json", *old, f"{CELL}/weights.safetensors", f"{CELL}/record.json"]
    new = [checkpoint.format(2, "safetensors"), checkpoint.format(2, "sha256")]
    for before, now in zip(old, new, strict=True):
        (folder / before).rename(folder / now)
    asked.clear()
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    assert asked == [*new, *(f"-{name}" for name in old)]


def test_a_cell_that_is_further_in_the_store_is_taken_whole_and_one_that_was_begun_here_goes_on_here(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    for name in (f"{CELL}/weights.safetensors", "cells/good/seed-1/checkpoint/00000007.safetensors"):
        (tmp_path / "there" / name).parent.mkdir(parents=True)
        (tmp_path / "there" / name).write_text("of here")
    fetch(store, tmp_path / "there")
    found = list_content(tmp_path / "there")
    assert found[f"{CELL}/weights.safetensors"] == f"{CELL}/weights.safetensors".encode()
    assert [name for name in found if "seed-1" in name] == ["cells/good/seed-1/checkpoint/00000007.safetensors"]


def test_a_store_that_fails_is_told_once_and_gets_everything_when_it_answers(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_AGAIN_SECONDS", 0.05)
    write, refused, warned = Store.write, [5], list[str]()

    def fail(self: Store, name: str, data: bytes) -> None:
        if refused[0] > 0 and name != "study.json":
            refused[0] -= 1
            raise StoreError("Could not write memory://x: it is out")
        write(self, name, data)

    monkeypatch.setattr(Store, "write", fail)
    one = Mirror(store, folder, warned.append)
    assert one.close(within_seconds=30) is None
    assert len(warned) == 1 and "The study goes on" in warned[0]
    assert f"{CELL}/record.json" in store.list_files()
    refused[0] = 10**9
    (folder / CELL / "record.json").write_text("another")
    lacking = Mirror(store, folder, warned.append).close(within_seconds=0.3)
    assert lacking is not None and "The same command sends them" in lacking
    refused[0] = 0


def test_another_study_in_the_store_is_refused_before_anything_is_fetched(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    other = make_study(recipe=make_study().recipe.model_copy(update={"epochs": 9}))
    with pytest.raises(UserError, match=r"The store memory://.* holds another study: recipe.epochs is 4 there and 9"):
        fetch(store, tmp_path / "there", other)
    assert not (tmp_path / "there").exists()


def test_a_store_that_holds_files_of_others_is_refused_and_left_as_it_is(store: Store, tmp_path: Path) -> None:
    store.write("other/cells/good/seed-0/checkpoint/00000001.safetensors", b"precious")
    with pytest.raises(UserError, match=r"holds no study, but other files: other/cells.*an empty folder of its own"):
        fetch(store, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_checkpoints_in_the_store_of_cells_that_are_not_here_stay(store: Store, folder: Path) -> None:
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    of_others = "other/cells/good/seed-1/checkpoint/00000001.safetensors"
    store.write(of_others, b"precious")
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    assert store.read(of_others) == b"precious"


@pytest.mark.parametrize(("store", "folder"), [("here", "here"), ("here/store", "here"), ("here", "here/study")])
def test_a_store_and_a_folder_that_lie_in_one_another_are_refused(store: str, folder: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lie in one another"):
        fetch(Store(f"file://{tmp_path}/{store}"), tmp_path / folder)
    assert not list(tmp_path.iterdir())


def test_another_study_here_is_refused_before_it_is_sent(store: Store, folder: Path) -> None:
    with pytest.raises(UserError, match=r"The folder .*here holds another study: recipe.epochs is 4 there and 9"):
        fetch(store, folder, make_study(recipe=make_study().recipe.model_copy(update={"epochs": 9})))
    assert store.list_files() == {}


@pytest.mark.parametrize("link", ["cells", "cells/good", CELL, f"{CELL}/record.json"])
def test_nothing_is_fetched_through_a_link_and_nothing_before_it(
    link: str, store: Store, folder: Path, tmp_path: Path
) -> None:
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    (tmp_path / "outside").mkdir()
    (tmp_path / "there" / link).parent.mkdir(parents=True)
    (tmp_path / "there" / link).symlink_to(tmp_path / "outside" / ("gone" if link.endswith(".json") else ""))
    with pytest.raises(UserError, match=rf"there/{link} is a link to .*outside.*Remove the link"):
        fetch(store, tmp_path / "there")
    assert not list((tmp_path / "outside").iterdir())
    assert not [path for path in (tmp_path / "there").rglob("*") if path.is_file()]


def test_a_name_in_the_store_that_leads_out_of_the_folder_is_refused(
    store: Store, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    listed = {**store.list_files(), "../diary": 3}
    monkeypatch.setattr(Store, "list_files", lambda self: listed)
    with pytest.raises(UserError, match=r"'\.\./diary' leads out of .*there"):
        fetch(store, tmp_path / "there")
    assert not (tmp_path / "diary").exists()
    assert not (tmp_path / "there").exists()


@pytest.mark.parametrize("link", ["a", "a/b.txt", "a/b.txt.vtbench-part"])
def test_nothing_is_written_or_removed_through_links_in_a_folder_that_serves_as_a_store(
    link: str, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "b.txt").write_text("precious")
    (tmp_path / "kept" / link).parent.mkdir(parents=True)
    (tmp_path / "kept" / link).symlink_to(tmp_path / "outside" / ("b.txt" if link != "a" else ""))
    store = Store(f"file://{tmp_path}/kept")
    with pytest.raises(StoreError, match=r"Could not write .*is a link to .*outside"):
        store.write("a/b.txt", b"new")
    if not link.endswith("part"):
        with pytest.raises(StoreError, match=r"Could not remove from .*is a link to .*outside"):
            store.remove("a/b.txt")
    assert [path.read_text() for path in (tmp_path / "outside").iterdir()] == ["precious"]


def test_notes_of_another_store_or_damaged_ones_send_everything(store: Store, folder: Path) -> None:
    (folder / ".store.json").write_text("[1]")
    assert Mirror(store, folder, pytest.fail).close(within_seconds=30) is None
    assert json.loads((folder / ".store.json").read_text())["url"] == store.url
    second = Store(f"memory://{uuid.uuid4().hex}/study")
    assert Mirror(second, folder, pytest.fail).close(within_seconds=30) is None
    assert second.list_files() == store.list_files()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("runs/study", "is no URL of a folder. Write s3://BUCKET/PATH"),
        ("s3://", "is no URL of a folder"),
        ("nowhere://a/b", "Protocol not known: nowhere"),
    ],
)
def test_what_is_no_store_is_one_message(url: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Store(url)


@pytest.mark.parametrize("url", ["kept/study", "file://kept/study", "file://./kept/study", "local://kept/study"])
def test_a_folder_that_is_named_from_the_current_one_is_refused_with_its_whole_url(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"is no URL of a folder") as refused:
        Store(url)
    whole = f"file://{tmp_path.resolve()}/kept/study"
    assert f"or {whole} for the folder " in str(refused.value)
    assert Store(whole).list_files() == {}
    with pytest.raises(UserError, match=r"Write s3://BUCKET/PATH, or file:///PATH\.$"):
        Store("file://")


@pytest.mark.parametrize(
    ("url", "package", "extra"), [("gs://b/study", "gcsfs", "gcs"), ("s3://b/study", "s3fs", "s3")]
)
def test_a_store_whose_package_is_not_installed_names_the_extra(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gs", "gcs", "s3", "s3a"):
        monkeypatch.delitem(_registry, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"--store {url} takes a package .* pip install 'vtbench\[{extra}\]'\."):
        Store(url)


def test_a_file_comes_to_lie_whole_in_a_folder_that_serves_as_a_store(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/kept")
    assert store.list_files() == {}
    store.write("a/b.txt", b"whole")
    (tmp_path / "kept" / "a" / "c.txt.vtbench-part").write_bytes(b"ha")
    assert store.list_files() == {"a/b.txt": 5}
    assert store.read("a/b.txt") == b"whole"
    store.remove("a/b.txt")
    store.remove("a/b.txt")
    assert store.list_files() == {}
    with pytest.raises(StoreError, match="Could not read file://"):
        store.read("a/b.txt")
