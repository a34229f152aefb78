import json
import os
from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.files import (
    check_writable,
    expand_home,
    finish_set,
    hash_file,
    place_within,
    publish,
    publish_set,
    publish_text,
    read_file,
    resolve,
)


def test_a_published_file_holds_the_whole_text(tmp_path: Path) -> None:
    publish_text(tmp_path / "deep" / "a.txt", "höher")
    assert (tmp_path / "deep" / "a.txt").read_text("utf-8") == "höher"


def test_an_exception_leaves_the_old_file_and_no_partial_one(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    publish_text(target, "old")

    def write_half() -> None:
        with publish(target) as stream:
            stream.write(b"half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_half()
    assert target.read_text("utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_until_the_block_ends_the_name_does_not_exist(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with publish(target) as stream:
        stream.write(b"data")
        stream.flush()
        assert not target.exists()
    assert target.exists()


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was opened"))
    with pytest.raises(OSError, match="it is a pipe or a device, not a file"):
        read_file(tmp_path / "pipe")


def test_hashes_are_those_of_the_standard(tmp_path: Path) -> None:
    publish_text(tmp_path / "a", "abc")
    assert hash_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_folder_that_cannot_be_made_is_one_clear_message(tmp_path: Path) -> None:
    publish_text(tmp_path / "file", "")
    with pytest.raises(UserError, match=r"Cannot write to the output folder .*file/below.*--out"):
        check_writable(tmp_path / "file" / "below")


def test_a_set_replaces_its_predecessors_and_leaves_other_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "notes.md"):
        publish_text(tmp_path / name, "old")
    with publish_set(tmp_path, stale=["*.txt"]) as staged:
        publish_text(staged / "b.txt", "new")
        publish_text(staged / "below" / "c.txt", "new")
        assert (tmp_path / "b.txt").read_text() == "old"
    found = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"b.txt": "new", "below/c.txt": "new", "notes.md": "old"}


def test_a_set_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    publish_text(tmp_path / "a.txt", "old")

    def write_half() -> None:
        with publish_set(tmp_path, stale=["*.txt"]) as staged:
            publish_text(staged / "b.txt", "new")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_half()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_set_that_another_decided_on_in_between_is_moved_first(tmp_path: Path) -> None:
    with publish_set(tmp_path) as staged:
        publish_text(staged / "a.txt", "mine")
        publish_text(tmp_path / ".decided" / "a.txt", "theirs")
        publish_text(tmp_path / ".decided" / "b.txt", "theirs")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "mine", "b.txt": "theirs"}


def decide(folder: Path, *names: str, stale: object = ()) -> Path:
    """Files that were decided on by a process that was killed before it had moved them."""
    for name in names:
        publish_text(folder / ".decided" / name, "new")
    publish_text(folder / ".decided" / ".stale.json", json.dumps(stale))
    return folder


@pytest.mark.parametrize("name", ["../precious", "below/../../precious", "{absolute}"])
def test_a_set_removes_nothing_outside_of_its_folder(name: str, tmp_path: Path) -> None:
    publish_text(tmp_path / "precious", "old")
    folder = decide(tmp_path / "set", "a.txt", stale=[name.format(absolute=tmp_path / "precious")])
    (folder / "below").mkdir()
    with pytest.raises(UserError, match=r"names .*precious, outside of its folder.*Remove .*\.decided"):
        finish_set(folder)
    assert (tmp_path / "precious").read_text() == "old"
    assert not (folder / "a.txt").exists()


@pytest.mark.parametrize(("names", "stale"), [(["a.txt", "below/b.txt"], []), (["a.txt"], ["below/old.txt"])])
def test_a_set_that_would_go_through_a_link_leaves_all_as_it_is(
    names: list[str], stale: list[str], tmp_path: Path
) -> None:
    publish_text(tmp_path / "elsewhere" / "old.txt", "old")
    folder = decide(tmp_path / "set", *names, stale=stale)
    (folder / "below").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"set/below is a link to .*elsewhere"):
        finish_set(folder)
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["old.txt"]
    assert not (folder / "a.txt").exists()


@pytest.mark.parametrize("stale", [3, None, [3], [["a"]]])
def test_a_set_whose_list_is_none_is_one_clear_message(stale: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.stale\.json is no list of files.*Remove .*\.decided"):
        finish_set(decide(tmp_path, "a.txt", stale=stale))
    assert not (tmp_path / "a.txt").exists()


def test_a_link_in_the_place_of_a_set_that_was_given_up_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".staged-1").symlink_to(tmp_path / "nowhere")
    with publish_set(tmp_path) as staged:
        publish_text(staged / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["../a", "below/../../a", "/a"])
def test_a_name_that_leads_out_of_a_folder_is_no_place_in_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leads out of"):
        place_within(tmp_path, name)


def test_bytes_of_a_name_that_are_no_text_are_spelled_out_in_a_file(tmp_path: Path) -> None:
    publish_text(tmp_path / "a.txt", "r\udcff")
    assert (tmp_path / "a.txt").read_bytes() == b"r\\udcff"


def test_a_circle_of_links_and_an_unknown_user_are_paths_like_others(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    assert resolve(circle) == resolve(tmp_path) / "circle"
    assert expand_home("~nobody-here/x") == Path("~nobody-here/x")
    assert expand_home("~/x") == Path.home() / "x"
