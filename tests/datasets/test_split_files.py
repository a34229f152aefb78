import pytest

from vtbench.datasets.split_files import Wanted, find_files, name_splits
from vtbench.datasets.walking import is_left_behind, walk_files
from vtbench.errors import UserError


def make_files(root, *names):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x" * (number + 1))
    return root


def find(root, **wanted):
    found = find_files(root, Wanted(**wanted))
    return {split: [file.name for file in files] for split, files in found.items()}


def expect_refusal(root, *parts, **wanted):
    with pytest.raises(UserError) as caught:
        find(root, **wanted)
    for part in parts:
        assert part in str(caught.value)


def test_sibling_subsets_are_refused_unless_one_is_named(tmp_path):
    root = make_files(tmp_path, "a/train-0.parquet", "a/test.parquet", "b/train-0.parquet", "b/test.parquet")
    expect_refusal(root, "2 files of the train split in 2 places (a, b)", f"parquet:{root},subset=b")
    assert find(root, subset="b") == {"train": ["b/train-0.parquet"], "val": ["b/test.parquet"]}
    expect_refusal(root, "no subset 'c'", "a, b", subset="c")
    assert find(root / "a") == {"train": ["train-0.parquet"], "val": ["test.parquet"]}


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("data/train-0.parquet", "default/train/0.parquet"), "2 places (data, default)"),
        (("train.parquet", "old/train.parquet"), "2 places (., old)"),
        (("train/a/0.parquet", "train/b/0.parquet"), "2 places (a, b)"),
        (("train.parquet", "train-00000-of-00001.parquet"), "not named alike"),
        (("train_small.parquet", "train_large.parquet"), "not named alike"),
        (("train-00000-of-00001-0a1b.parquet", "train-00000-of-00001-9c8d.parquet"), "numbered 0 of 1, 0 of 1"),
        (("train-00000-of-00003.parquet", "train-00002-of-00003.parquet"), "numbered 0 of 3, 2 of 3: some are missing"),
    ],
)
def test_an_export_beside_another_and_an_incomplete_one_are_refused(tmp_path, names, part):
    expect_refusal(make_files(tmp_path, *names, "val.parquet"), part)


def test_parts_of_one_split_belong_together(tmp_path):
    names = ["train/year=2020/0.parquet", "train/year=2021/0.parquet"]
    assert find(make_files(tmp_path / "a", *names, "val/0.parquet"))["train"] == names
    names = ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    assert find(make_files(tmp_path / "b", *names, "val.parquet"))["train"] == names


def test_the_same_file_twice_is_refused(tmp_path):
    root = make_files(tmp_path, "train-0.parquet", "val.parquet")
    (root / "train-1.parquet").write_bytes((root / "train-0.parquet").read_bytes())
    expect_refusal(root, "train-0.parquet", "train-1.parquet are the same file twice")


def test_a_path_that_names_two_splits_or_none_is_refused_unless_files_are_named(tmp_path):
    root = make_files(tmp_path / "a", "train_val.parquet", "test.parquet")
    expect_refusal(root, "its path names train and val", "train=NAME")
    assert find(root, train="train_val", val="test")["train"] == ["train_val.parquet"]
    expect_refusal(make_files(tmp_path / "b", "test/train-0.parquet", "val.parquet"), "its path names train and test")
    root = make_files(tmp_path / "c", "seen-0.parquet", "unseen.parquet", "more.parquet", "seen-1.parquet")
    expect_refusal(root, "no name in its path says so")
    found = find(root, train="seen", val="unseen")
    assert found == {"train": ["seen-0.parquet", "seen-1.parquet"], "val": ["unseen.parquet"]}
    expect_refusal(root, "no file for val=unsen", "unseen.parquet", train="seen", val="unsen")


def test_files_are_named_by_split_or_by_name_and_several_with_a_plus(tmp_path):
    root = make_files(tmp_path, "train.parquet", "train_more.parquet", "validation.parquet", "test.parquet")
    assert find(root, train="train.parquet", val="test")["val"] == ["test.parquet"]
    expect_refusal(root, "not named alike, such as train.parquet and train_more.parquet")
    both = find(root, train="train.parquet+train_more", val="test")
    assert both["train"] == ["train.parquet", "train_more.parquet"]
    expect_refusal(root, "is to be trained and validated on", train="train_more", val="train_more")
    wanted = Wanted(train="train_more")
    assert name_splits(find_files(root, wanted), wanted) == {"train": "train_more", "val": "val"}


LEFT = ("@eaDir", "__MACOSX", ".Trash-1000", "$RECYCLE.BIN", ".ipynb_checkpoints", "#recycle", "lost+found", ".git")


@pytest.mark.parametrize("name", [*LEFT, "System Volume Information"])
def test_folders_that_systems_and_programs_leave_are_no_data(tmp_path, name):
    root = make_files(tmp_path, "train.parquet", "val.parquet", f"{name}/train.parquet/x.parquet", f"{name}/no.parquet")
    assert find(root) == {"train": ["train.parquet"], "val": ["val.parquet"]}
    assert [path.name for path in walk_files(root)] == ["train.parquet", "val.parquet"]


def test_only_what_is_left_behind_is_left_out(tmp_path):
    assert all(map(is_left_behind, ["Thumbs.db", "THUMBS.DB", "desktop.ini", ".DS_Store", "._a.png", "ehthumbs.db"]))
    assert not any(map(is_left_behind, ["eaDir", "trash", "recycle", "_a", "a.b", "#1"]))


def test_links_to_folders_are_followed_and_a_circle_is_named(tmp_path):
    root = make_files(tmp_path / "data", "train/0.parquet", "val/0.parquet")
    make_files(tmp_path / "elsewhere", "other.csv", "more.csv", "1.parquet")
    (root / "train" / "linked=1").symlink_to(tmp_path / "elsewhere")
    assert find(root)["train"] == ["train/0.parquet", "train/linked=1/1.parquet"]
    (root / "train" / "circle").symlink_to(root)
    expect_refusal(root, "circle leads back to a folder that it lies in")


def test_a_download_that_is_not_finished_is_named(tmp_path):
    expect_refusal(
        make_files(tmp_path, "train-0.parquet", "train-1.parquet.part", "val.parquet"), "train-1", "Finish it"
    )


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    root = make_files(tmp_path, "train.parquet")
    (root / "val.parquet").symlink_to(root / "gone")
    expect_refusal(root, "val.parquet cannot be had")


def test_splits_that_lie_in_two_subsets_are_refused_unless_both_are_named(tmp_path):
    make_files(tmp_path, "small/train.parquet", "large/val.parquet")
    expect_refusal(tmp_path, "train split in small", "val split in large", "train=NAME and val=NAME")
    assert len(find(tmp_path, train="small", val="large")["val"]) == 1


@pytest.mark.parametrize("names", [("train_1", "train_3"), ("train-0-x7", "train-2-x7")])
def test_a_number_that_lacks_between_others_is_named(tmp_path, names):
    make_files(tmp_path, *(f"{name}.parquet" for name in names), "val.parquet")
    expect_refusal(tmp_path, "numbered from", "without")


def test_years_and_whole_counts_are_no_gaps(tmp_path):
    make_files(tmp_path, "train_2019.parquet", "train_2021.parquet", "testing_1.parquet", "testing_2.parquet")
    assert {split: len(files) for split, files in find(tmp_path).items()} == {"train": 2, "val": 2}
