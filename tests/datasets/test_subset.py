import numpy as np
import pytest

from vtbench.datasets.subset import select_balanced
from vtbench.errors import UserError

LABELS = np.repeat(np.arange(4), [50, 50, 50, 3])


def select(limit, *, seed=0, split="train", labels=LABELS):
    return select_balanced(labels, limit, split=split, seed=seed, name="scenes")


def test_no_limit_takes_all_images_in_order():
    assert select(None).tolist() == list(range(153)) == select(153).tolist()


@pytest.mark.parametrize(
    ("limit", "counts"), [(8, [2, 2, 2, 2]), (12, [3, 3, 3, 3]), (33, [10, 10, 10, 3]), (152, [49, 50, 50, 3])]
)
def test_a_subset_is_as_balanced_as_the_data_allows(limit, counts):
    rows = select(limit)
    assert len(set(rows.tolist())) == limit and (np.diff(rows) > 0).all()
    assert sorted(np.bincount(LABELS[rows], minlength=4)) == sorted(counts)


def test_what_cannot_be_shared_out_evenly_goes_to_classes_drawn_by_the_seed():
    counts = [tuple(np.bincount(LABELS[select(6, seed=seed)], minlength=4)) for seed in range(30)]
    assert all(sorted(count) == [1, 1, 2, 2] for count in counts)
    assert len(set(counts)) > 3


def test_the_subset_is_fixed_by_seed_and_split():
    assert select(40).tolist() == select(40).tolist()
    assert select(40).tolist() != select(40, seed=1).tolist()
    assert select(40).tolist() != select(40, split="val").tolist()


def test_a_limit_beyond_the_data_is_refused_with_what_there_is():
    with pytest.raises(UserError, match=r"--limit-train asks for 154 images, but scenes has 153 in its train split"):
        select(154)


@pytest.mark.parametrize(("limit", "least"), [(1, 10), (9, 10)])
def test_a_limit_that_leaves_a_class_without_an_image_is_refused(limit: int, least: int) -> None:
    labels = np.arange(200) % 10 * 2  # Ten classes, and ten that the split has no image of.
    message = (
        rf"asks for {limit} images, and scenes has 10 classes of images in its val split: some .*at least {least},"
    )
    with pytest.raises(UserError, match=message):
        select_balanced(labels, limit, split="val", seed=0, name="scenes")
    assert len(select_balanced(labels, least, split="val", seed=0, name="scenes")) == least
