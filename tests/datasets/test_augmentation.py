import numpy as np
import pytest
import torch
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from vtbench.configuration import AugmentationConfig
from vtbench.datasets.augmentation import Augmentation, crop, mirror
from vtbench.datasets.counter_based import to_below, to_unit

OFF = AugmentationConfig(crop_padding=0, flip=False)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 16, 12, 3), np.uint8)


def make_augmentation(config, *, seed=0, image_size=(16, 12)):
    return Augmentation(config, seed, image_size)


def augment(augmentation, images, epoch, indices):
    return augmentation.apply(images, augmentation.draw(epoch, indices))


def test_a_crop_is_the_window_of_the_reflected_image(images):
    rng = np.random.default_rng(1)
    top, left = rng.integers(0, 11, 20), rng.integers(0, 11, 20)
    cut = crop(images, top, left, 5)
    padded = np.pad(images, ((0, 0), (5, 5), (5, 5), (0, 0)), mode="reflect")
    for index in range(20):
        window = padded[index, top[index] : top[index] + 16, left[index] : left[index] + 12]
        np.testing.assert_array_equal(cut[index], window)


def test_an_image_is_mirrored_left_to_right(images):
    np.testing.assert_array_equal(mirror(images), images[:, :, ::-1])


def test_nothing_switched_on_changes_nothing_and_the_input_is_never_changed(images):
    before = images.copy()
    np.testing.assert_array_equal(augment(make_augmentation(OFF), images, 0, np.arange(20)), images)
    changed = augment(make_augmentation(AugmentationConfig(auto_augment=True)), images, 0, np.arange(20))
    assert (changed != images).any()
    np.testing.assert_array_equal(images, before)


def test_a_sample_is_augmented_alike_in_any_batch_and_differently_in_another_epoch(images):
    for config in (AugmentationConfig(), AugmentationConfig(auto_augment=True)):
        augmentation = make_augmentation(config)
        whole = augment(augmentation, images, 4, np.arange(100, 120))
        part = augment(augmentation, images[[7, 3]], 4, np.array([107, 103]))
        np.testing.assert_array_equal(part, whole[[7, 3]])
        assert (augment(augmentation, images, 5, np.arange(100, 120)) != whole).any()


def test_padding_grows_with_the_image_and_stays_below_its_side():
    assert make_augmentation(AugmentationConfig(), image_size=(32, 32)).padding == 4
    assert make_augmentation(AugmentationConfig(), image_size=(224, 300)).padding == 28
    assert make_augmentation(AugmentationConfig(crop_padding=100), image_size=(8, 8)).padding == 7


def test_offsets_and_flips_take_all_values_equally_often():
    draws = make_augmentation(AugmentationConfig(), image_size=(32, 32)).draw(0, np.arange(9000))
    for offsets in (draws.top, draws.left):
        assert abs(np.bincount(offsets, minlength=9) - 1000).max() < 160
    assert abs(draws.flip.sum() - 4500) < 250
    assert abs(np.corrcoef([draws.top, draws.left, draws.flip]) - np.eye(3)).max() < 0.05


def test_the_hash_tells_settings_seeds_and_lengths_apart_and_nothing_else():
    hashes = [
        make_augmentation(AugmentationConfig()).hash(2, 50),
        make_augmentation(AugmentationConfig(), seed=1).hash(2, 50),
        make_augmentation(AugmentationConfig()).hash(3, 50),
        make_augmentation(AugmentationConfig()).hash(2, 51),
        make_augmentation(AugmentationConfig(flip=False)).hash(2, 50),
        make_augmentation(AugmentationConfig(auto_augment=True)).hash(2, 50),
        make_augmentation(AugmentationConfig(), image_size=(16, 16)).hash(2, 50),
    ]
    assert len(set(hashes)) == len(hashes)
    assert make_augmentation(AugmentationConfig()).hash(2, 50) == hashes[0]


@pytest.mark.parametrize("name", ["top", "left", "flip", "auto_augment"])
def test_every_draw_of_every_sample_counts_in_the_hash(name, monkeypatch):
    augmentation = make_augmentation(AugmentationConfig(auto_augment=True))
    plain, draw = augmentation.hash(2, 50), Augmentation.draw

    def draw_otherwise(self, epoch, indices):
        draws = draw(self, epoch, indices)
        if epoch == 1:
            drawn = getattr(draws, name)
            drawn[-1] = ~drawn[-1]
        return draws

    monkeypatch.setattr(Augmentation, "draw", draw_otherwise)
    assert augmentation.hash(2, 50) != plain


@pytest.mark.parametrize(("side", "policy"), [(32, AutoAugmentPolicy.CIFAR10), (96, AutoAugmentPolicy.IMAGENET)])
def test_auto_augment_is_that_of_torchvision_with_the_draws_of_the_sample(side, policy, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (12, side, side, 3), np.uint8)
    augmentation = make_augmentation(AugmentationConfig(crop_padding=0, flip=False, auto_augment=True))
    found = augment(augmentation, images, 2, np.arange(12))
    words = augmentation.draw(2, np.arange(12)).auto_augment
    reference = AutoAugment(policy)
    for index in range(12):
        chosen = int(to_below(words[index, :1], 25)[0])
        params = chosen, torch.from_numpy(to_unit(words[index, 1:3])), torch.from_numpy(to_below(words[index, 3:5], 2))
        monkeypatch.setattr(AutoAugment, "get_params", staticmethod(lambda count, params=params: params))
        expected = reference(torch.from_numpy(images[index].transpose(2, 0, 1).copy()))
        np.testing.assert_array_equal(found[index], expected.numpy().transpose(1, 2, 0))


def test_auto_augment_leaves_the_global_random_numbers_alone(images):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    augment(make_augmentation(AugmentationConfig(auto_augment=True)), images, 0, np.arange(20))
    assert torch.equal(torch.get_rng_state(), before)


WINDOWED = AugmentationConfig(crop_padding=0, scale=(0.5, 2.0), crop=(10, 14))


@pytest.fixture
def masks():
    return np.random.default_rng(5).choice(np.array([0, 1, 2, 3, 255], np.uint8), (20, 16, 12))


def with_colours(masks):
    """Images whose red is their mask, so that what was done to both can be compared."""
    return np.repeat(masks[..., None], 3, axis=3)


@pytest.mark.parametrize(
    "config",
    [AugmentationConfig(), AugmentationConfig(crop_padding=0, crop=(10, 30)), OFF],
    ids=["padded crop", "crop larger than the image", "off"],
)
def test_a_mask_goes_where_its_image_goes(masks, config):
    augmentation = Augmentation(config, 0, (16, 12), fill=(255, 255, 255))
    draws = augmentation.draw(3, np.arange(20))
    found = augmentation.apply_to_masks(masks, draws)
    assert found.shape[1:] == augmentation.output_size
    np.testing.assert_array_equal(found, augmentation.apply(with_colours(masks), draws)[..., 0])


def test_a_scaled_mask_lies_where_its_scaled_image_lies():
    rows, columns = np.mgrid[:64, :64]
    masks = np.repeat(((rows // 16 + columns // 16) % 2).astype(np.uint8)[None], 30, axis=0)
    augmentation = Augmentation(AugmentationConfig(crop_padding=0, scale=(0.5, 2.0), crop=(48, 40)), 0, (64, 64))
    draws = augmentation.draw(0, np.arange(30))
    image, mask = (
        augmentation.apply(with_colours(masks * 200), draws)[..., 0],
        augmentation.apply_to_masks(masks, draws),
    )
    inside = mask != 255
    assert (~inside).any() and ((mask == 0) & (image < 100) | (mask == 1) & (image > 100))[inside].mean() > 0.98


@pytest.mark.parametrize("config", [AugmentationConfig(), WINDOWED], ids=["padded crop", "windows"])
def test_masks_hold_no_value_that_they_did_not_hold_save_void(masks, config):
    augmentation = Augmentation(config, 0, (16, 12))
    before, kept = masks.copy(), masks % 3
    for epoch in range(5):
        found = augmentation.apply_to_masks(kept, augmentation.draw(epoch, np.arange(20)))
        for mask, old in zip(found, kept, strict=True):
            assert set(np.unique(mask)) <= {*np.unique(old), 255}
    np.testing.assert_array_equal(masks, before)


def test_a_double_flip_with_swapped_classes_is_the_identity(masks):
    config = AugmentationConfig(crop_padding=0, swap_on_flip=((1, 2),))
    augmentation = Augmentation(config, 0, (16, 12))
    draws = augmentation.draw(0, np.arange(20))
    once = augmentation.apply_to_masks(masks, draws)
    flipped = draws.flip
    assert flipped.any() and not flipped.all()
    np.testing.assert_array_equal(once[~flipped], masks[~flipped])
    np.testing.assert_array_equal(once[flipped] == 1, masks[flipped][:, :, ::-1] == 2)
    np.testing.assert_array_equal(once[flipped] == 2, masks[flipped][:, :, ::-1] == 1)
    np.testing.assert_array_equal(augmentation.apply_to_masks(once, draws), masks)


def test_a_window_shows_the_image_at_the_scale_drawn_and_beyond_it_the_fill(images):
    augmentation = Augmentation(
        AugmentationConfig(crop_padding=0, flip=False, scale=(0.5, 0.5)), 0, (16, 12), (1, 2, 3)
    )
    found = augment(augmentation, images, 0, np.arange(20))
    halved = torch.nn.functional.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2), (8, 6), mode="bilinear")
    draws = augmentation.draw(0, np.arange(20)).windows
    for index in range(20):
        top, left = -draws.top[index] // 2, -draws.left[index] // 2
        if draws.top[index] % 2 == draws.left[index] % 2 == 0:
            part = found[index, top : top + 8, left : left + 6]
            np.testing.assert_array_equal(part, halved[index].permute(1, 2, 0).numpy())
        assert (found[index].reshape(-1, 3) == (1, 2, 3)).all(1).sum() >= 16 * 12 - 9 * 7


def test_windows_of_an_image_in_its_own_size_are_the_image(images):
    same = AugmentationConfig(crop_padding=0, flip=False, scale=(1.0, 1.0))
    np.testing.assert_array_equal(augment(make_augmentation(same), images, 0, np.arange(20)), images)


def test_windows_are_alike_in_any_batch_and_every_draw_of_them_counts_in_the_hash(images, monkeypatch):
    augmentation = make_augmentation(WINDOWED)
    whole = augment(augmentation, images, 4, np.arange(100, 120))
    np.testing.assert_array_equal(augment(augmentation, images[[7, 3]], 4, np.array([107, 103])), whole[[7, 3]])
    plain, draw = augmentation.hash(2, 50), Augmentation.draw
    for part in range(4):

        def draw_otherwise(self, epoch, indices, part=part):
            draws = draw(self, epoch, indices)
            draws.windows[part][-1] += epoch
            return draws

        monkeypatch.setattr(Augmentation, "draw", draw_otherwise)
        assert augmentation.hash(2, 50) != plain


def test_windows_leave_the_other_draws_as_they_are():
    plain, windowed = (make_augmentation(config).draw(1, np.arange(50)) for config in (OFF, WINDOWED))
    np.testing.assert_array_equal(plain.auto_augment, windowed.auto_augment)
    flips = [make_augmentation(AugmentationConfig(crop_padding=0, scale=s)).draw(1, np.arange(50)).flip
             for s in (None, (0.5, 2.0))]  # fmt: skip
    np.testing.assert_array_equal(*flips)


def test_the_hash_of_augmentation_without_windows_is_what_it_always_was():
    assert make_augmentation(AugmentationConfig()).hash(2, 50) == (
        "73c69995b87dcb1f49f960c7425be6d17ff26ec5f2b521721645872fcad09ea3"
    )
