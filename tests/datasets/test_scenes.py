import hashlib

import numpy as np
import pytest

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset, scene_drawing
from vtbench.datasets.scene_drawing import PAIRS
from vtbench.datasets.sources.scenes import SceneKnobs, open_scenes
from vtbench.errors import UserError

GOLDEN = "921102636a068791b2c38fdcc894fa386b2ec76a54e4ad780fa78c9f19f70dd8"
"""SHA-256 of the first 40 training images and masks: results before and after a change of it cannot be compared."""
OF_DEFAULT = "8e3fd06064f46546d0439b1fdb5a2ed1f6c03eea104857055964cfed88624f92"
"""The fingerprint of the training images."""


def open_split(split="train", image_size=None, **knobs):
    return open_scenes(SceneKnobs(**knobs), image_size)[split]


def test_the_pixels_are_those_that_results_were_had_on():
    split, indices = open_split(), np.arange(40)
    digest = hashlib.sha256(split.read(indices).tobytes() + split.read_masks(indices).tobytes()).hexdigest()
    assert digest == GOLDEN


def test_a_change_of_the_drawing_code_changes_the_fingerprint(monkeypatch):
    before = open_scenes(SceneKnobs(), None)["train"].fingerprint
    assert open_scenes(SceneKnobs(), None)["train"].fingerprint == before
    monkeypatch.setattr(scene_drawing, "_TEXTURE_AMPLITUDE", 9.0)
    assert open_scenes(SceneKnobs(), None)["train"].fingerprint != before


def test_an_image_depends_on_split_and_index_and_not_on_the_batch_it_is_read_in():
    split = open_split()
    together = split.read(np.arange(300))
    np.testing.assert_array_equal(split.read(np.array([250, 3, 250])), together[[250, 3, 250]])
    assert (open_split("val").read(np.arange(10)) != together[:10]).any(axis=(1, 2, 3)).all()
    assert (together[0] != together[10]).any()  # The same class, another scene.


@pytest.mark.parametrize("side", [8, 31, 96])
def test_any_resolution_can_be_drawn_and_shows_the_same_scene(side):
    split = open_split(image_size=side)
    images, masks = split.read(np.arange(20)), split.read_masks(np.arange(20))
    assert images.shape == (20, side, side, 3) and masks.shape == (20, side, side)
    large = open_split(image_size=192).read(np.arange(20)).astype(float).mean(axis=(1, 2))
    np.testing.assert_allclose(images.astype(float).mean(axis=(1, 2)), large, atol=6)


def test_classes_are_balanced_unordered_pairs_with_repetition():
    split = open_split(num_train=200)
    assert np.bincount(split.labels).tolist() == [20] * 10
    assert len(set(split.class_names)) == 10
    assert split.class_names[0] == "disc-disc" and split.class_names[5] == "square-triangle"
    assert {frozenset(pair) for pair in PAIRS} == {frozenset((a, b)) for a in range(4) for b in range(4)}


def test_the_mask_shows_the_two_shapes_of_the_class_and_nothing_of_the_distractors():
    split = open_split(image_size=64, clutter=10)
    masks = split.read_masks(np.arange(200))
    for mask, label in zip(masks, split.labels, strict=False):
        assert set(np.unique(mask)) - {0} == {shape + 1 for shape in PAIRS[label]}
    without = open_split(image_size=64, clutter=0).read_masks(np.arange(200))
    assert (masks > 0).mean() == pytest.approx((without > 0).mean(), rel=0.1)


def test_targets_differ_from_the_background_that_surrounds_them():
    split = open_split(image_size=96, clutter=0)
    images, masks = split.read(np.arange(100)).astype(float), split.read_masks(np.arange(100))
    for image, mask in zip(images, masks, strict=True):
        assert image[mask > 0].mean() - image[mask == 0].mean() > 4
    plain = images.reshape(100, -1, 3).std(axis=1).min()
    assert plain > 3  # Texture everywhere.


@pytest.mark.parametrize("distance", [0.3, 0.5, 0.7])
def test_the_centres_of_the_pair_are_as_far_apart_as_the_knob_says(distance):
    split = open_split(image_size=96, distance=distance, object_size=0.2)
    different = np.flatnonzero([PAIRS[label][0] != PAIRS[label][1] for label in split.labels[:200]])
    for mask in split.read_masks(different):
        centres = [np.argwhere(mask == shape).mean(axis=0) for shape in np.unique(mask)[1:]]
        assert np.linalg.norm(centres[0] - centres[1]) / 96 == pytest.approx(distance, abs=0.03)


def test_both_targets_lie_inside_the_image():
    masks = open_split(image_size=96).read_masks(np.arange(300))
    border = np.concatenate([masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]])
    assert (border > 0).mean() < 0.01


def test_a_smaller_object_covers_fewer_pixels_with_the_square_of_its_size():
    covered = [
        (open_split(image_size=128, object_size=size).read_masks(np.arange(200)) > 0).mean() for size in (0.14, 0.28)
    ]
    assert covered[1] / covered[0] == pytest.approx(4, rel=0.1)
    assert covered[1] == pytest.approx(0.052, abs=0.005)  # What the module's docstring says.


def test_more_clutter_changes_more_pixels_outside_the_pair():
    bare = open_split(clutter=0).read(np.arange(50)).astype(int)
    changed = [(open_split(clutter=n).read(np.arange(50)) != bare).any(axis=-1).mean() for n in (2, 6, 12)]
    assert 0 < changed[0] < changed[1] < changed[2]


@pytest.mark.parametrize("faint", [0.0, 0.45, 1.0])
def test_as_many_targets_are_faint_as_the_knob_says(faint):
    split = open_split(image_size=96, clutter=0, faint=faint)
    images, masks = split.read(np.arange(400)).astype(float).mean(axis=-1), split.read_masks(np.arange(400))
    contrasts = []
    for image, mask, label in zip(images, masks, split.labels, strict=False):
        for target in {shape + 1 for shape in PAIRS[label]} if len(set(PAIRS[label])) == 2 else ():
            contrasts.append(image[mask == target].mean() - image[mask == 0].mean())
    assert (np.array(contrasts) < 50).mean() == pytest.approx(faint, abs=0.05)


def test_fingerprints_from_before_there_was_the_knob_hold():
    assert open_split().fingerprint == OF_DEFAULT
    assert open_split(faint=0.45).fingerprint == OF_DEFAULT
    assert open_split(faint=0.4).fingerprint != OF_DEFAULT


def test_neither_a_targets_shape_alone_nor_mean_colour_tells_the_class():
    split = open_split(num_train=2000)
    means = split.read(np.arange(2000)).reshape(2000, -1, 3).mean(axis=1)
    by_class = np.stack([means[split.labels == label].mean(axis=0) for label in range(10)])
    assert by_class.std(axis=0).max() < 0.15 * means.std(axis=0).max()


def test_load_dataset_gives_the_default_sizes_statistics_and_masks():
    config = DataConfig(spec="scenes:num_train=100,num_val=30", limit_train=40)
    train, val = (load_dataset(config, split, seed=0) for split in ("train", "val"))
    assert (len(train), len(val)) == (40, 30)
    assert len(load_dataset(DataConfig(), "val", seed=0)) == 1000
    assert train.mean == val.mean and train.std == val.std
    pixels = open_split(num_train=100).read(np.arange(100)) / 255
    np.testing.assert_allclose(train.mean, pixels.mean(axis=(0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(train.std, pixels.std(axis=(0, 1, 2)), atol=1e-6)
    assert train.mask_class_names == ("background", "disc", "square", "triangle", "cross")
    masks, direct = train.read_masks(np.arange(40)), open_split(num_train=100).read_masks(train.rows)
    np.testing.assert_array_equal(masks, direct)
    np.testing.assert_array_equal(train.read(np.arange(40)), open_split(num_train=100).read(train.rows))


def test_the_fingerprint_follows_everything_that_changes_the_images():
    def fingerprint(knobs="", seed=0, **config):
        spec = f"scenes:num_train=50,num_val=90{knobs}"
        return load_dataset(DataConfig(spec=spec, **config), "val", seed=seed).fingerprint

    prints = [fingerprint(knob) for knob in ("", ",clutter=5", ",distance=0.4", ",object_size=0.3")]
    prints.append(load_dataset(DataConfig(spec="scenes:num_train=50,num_val=91"), "val", seed=0).fingerprint)
    prints += [fingerprint(image_size=16), fingerprint(limit_val=50), fingerprint(limit_val=50, seed=1)]
    assert len(set(prints)) == len(prints) == 8


def test_the_number_of_validation_images_does_not_touch_the_training_images():
    prints = [
        load_dataset(DataConfig(spec=f"scenes:num_train=50,num_val={count}"), "train", seed=0).fingerprint
        for count in (10, 20)
    ]
    assert prints[0] == prints[1]


def test_a_pair_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"at most 0\.71 apart, but distance is 0\.9"):
        load_dataset(DataConfig(spec="scenes:object_size=0.5,distance=0.9"), "train", seed=0)
