from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from vtbench.datasets.named_images import find_images
from vtbench.errors import UserError


def make(*paths: Path) -> list[Path]:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2)).save(path)
    return list(paths)


def test_images_of_one_name_are_told_apart_also_where_case_does_not_count(tmp_path: Path) -> None:
    files = make(*(tmp_path / name for name in ("1/a.png", "2/a.png", "3/A.bmp", "4/a-2.png", "5/b.c.png")))
    found, left_out = find_images([*files, files[0]])
    assert [image.name for image in found] == ["a", "a-3", "A-4", "a-2", "b.c"]
    assert [image.path for image in found] == files and left_out == []


def test_a_folder_gives_its_images_with_the_folders_between_and_names_what_it_leaves_out(tmp_path: Path) -> None:
    make(*(tmp_path / name for name in ("z.png", "in/x.png", ".hidden/y.png")))
    (tmp_path / "in/notes.txt").write_text("of whom?")
    found, left_out = find_images([tmp_path])
    assert [image.name for image in found] == ["z", "in/x"]
    assert left_out == [tmp_path / "in/notes.txt"]
    assert found[1].read() == (tmp_path / "in/x.png").read_bytes()
    (tmp_path / "in/none").mkdir()
    with pytest.raises(UserError, match="holds no image, by the endings of its files"):
        find_images([tmp_path / "in/none"])


def test_a_named_file_is_an_image_whatever_it_is_called_and_refused_if_it_is_none(tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    named = (tmp_path / "a.png").rename(tmp_path / "photo")
    assert [image.name for image in find_images([named])[0]] == ["photo"]
    for path, message in (
        (tmp_path / "gone.png", "There is no image or folder"),
        (tmp_path / "t.png", "cannot be rea"),
    ):
        (tmp_path / "t.png").write_text("no image")
        with pytest.raises(UserError, match=message):
            find_images([named, path])
