import numpy as np
import pytest
import torchvision.datasets

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.errors import UserError


class PretendCifar:
    """What torchvision gives, without the download."""

    base_folder = "cifar-10-batches-py"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    classes = ("airplane", "automobile")
    roots: list[str] = []  # noqa: RUF012

    def __init__(self, root, train, download):
        assert download
        self.roots.append(str(root))
        self.data = np.random.default_rng(int(train)).integers(0, 256, (20 if train else 10, 32, 32, 3), np.uint8)
        self.targets = [number % 2 for number in range(len(self.data))]


@pytest.mark.parametrize(("spec", "kind"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_both_splits_come_from_torchvision(spec, kind, monkeypatch, cache_folder):
    monkeypatch.setattr(torchvision.datasets, kind, PretendCifar)
    train, val = (load_dataset(DataConfig(spec=spec), split, seed=0) for split in ("train", "val"))
    assert (len(train), len(val), train.image_size) == (20, 10, (32, 32))
    assert train.class_names == ("airplane", "automobile")
    np.testing.assert_array_equal(train.read(np.arange(20)), PretendCifar("", True, True).data)
    assert train.fingerprint != val.fingerprint
    assert PretendCifar.roots[0] == str(cache_folder / "cifar")
    PretendCifar.roots.clear()


def test_images_are_resized_and_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", PretendCifar)
    data = load_dataset(DataConfig(spec=f"cifar10:root={tmp_path}", image_size=16), "val", seed=0)
    assert data.read(np.arange(10)).shape == (10, 16, 16, 3)
    assert PretendCifar.roots == [str(tmp_path)] * 2
    PretendCifar.roots.clear()


@pytest.mark.parametrize("error", [OSError("Network is unreachable"), RuntimeError("File not found or corrupted.")])
def test_without_network_the_message_says_what_to_do(error, monkeypatch, tmp_path):
    class Unreachable(PretendCifar):
        def __init__(self, *_, **__):
            raise error

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Unreachable)
    with pytest.raises(UserError) as caught:
        load_dataset(DataConfig(spec=f"cifar10:root={tmp_path}"), "train", seed=0)
    for part in (
        str(tmp_path),
        "could not be downloaded",
        str(error),
        "cifar-10-batches-py",
        "scenes needs no download",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(("targets", "part"), [([], "no rows"), ([0] * 20, "no image of 1 of the 2 classes: 1")])
def test_a_data_set_that_is_not_whole_is_refused(monkeypatch, tmp_path, targets, part):
    class Partial(PretendCifar):
        def __init__(self, root, train, download):
            super().__init__(root, train, download)
            self.targets = targets if train else self.targets

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Partial)
    with pytest.raises(UserError, match=f"The train split of CIFAR10 in .* has {part}"):
        load_dataset(DataConfig(spec=f"cifar10:root={tmp_path}"), "val", seed=0)
    PretendCifar.roots.clear()


def test_the_facts_that_are_read_off_torchvision_are_there():
    for kind in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        assert len(kind.tgz_md5) == 32 and kind.base_folder and kind.filename
