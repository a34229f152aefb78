from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny_parts import TinyImages, TinyNet, tiny_config
from torch import nn

from vtbench.datasets.batches import EvalBatches
from vtbench.errors import UserError
from vtbench.training import train_run
from vtbench.training.teacher import load_teacher

DATA = TinyImages(12, 2)
CPU = torch.device("cpu")


def teacher_from(name: str, data: TinyImages = DATA) -> nn.Module:
    return load_teacher(name, data, 4, CPU).model


def test_a_finished_run_is_a_teacher(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = train_run(tiny_config(), tmp_path / "teacher")
    teacher = load_teacher(str(tmp_path / "teacher"), DATA, 4, CPU)
    assert not teacher.model.training
    images, labels = next(iter(EvalBatches(DATA, 12)))
    right = (teacher.model(images).argmax(1) == labels).float().mean()
    assert record.headline == pytest.approx(100 * float(right))


def test_a_student_of_a_teacher_is_trained_otherwise_and_resumes(tiny: pytest.MonkeyPatch, tmp_path: Path) -> None:
    train_run(tiny_config(), tmp_path / "teacher")
    distillation = {"teacher": str(tmp_path / "teacher"), "weight": 0.8}
    student = train_run(tiny_config(seed=1, distillation=distillation), tmp_path / "student")
    alone = train_run(tiny_config(seed=1), tmp_path / "alone")
    assert student.status == "finished"
    assert student.weights_sha256 != alone.weights_sha256
    assert student.certificate is not None
    assert alone.certificate is not None
    assert student.certificate.recipe != alone.certificate.recipe


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_variant_with_a_weights_file_is_a_teacher(tiny: pytest.MonkeyPatch, tmp_path: Path, suffix: str) -> None:
    weights, file = TinyNet(6, 4).state_dict(), tmp_path / f"weights.{suffix}"
    save_file(weights, file) if suffix == "safetensors" else torch.save(weights, file)
    teacher = teacher_from(f"tiny:width=6@{file}")
    assert torch.equal(teacher.state_dict()["conv.weight"], weights["conv.weight"])


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


def test_a_file_that_would_run_code_is_refused_and_its_code_does_not_run(
    tiny: pytest.MonkeyPatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Bomb()}, "bomb.pt")
    Path("plain.pt").write_bytes(pickle.dumps({"weight": Bomb()}, protocol=2))
    for name in ("bomb.pt", "plain.pt"):
        with pytest.raises(UserError, match="without running code"):
            teacher_from(f"tiny@{name}")
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet99", "is no trained network"),
        ("tiny", "is no trained network"),
        ("tiny@missing.safetensors", "Cannot read the teacher's weights"),
        ("tiny@text.safetensors", "or are damaged"),
        ("tiny@list.pt", "no state dict"),
        ("tiny:width=6@four.safetensors", "do not fit the teacher"),
        ("torchvision:resnet9", "torchvision cannot give the teacher 'resnet9'"),
        ("timm:resnet9", "timm cannot give the teacher 'resnet9'"),
    ],
)
def test_a_teacher_that_cannot_be_had_is_refused_with_the_reason(
    tiny: pytest.MonkeyPatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("no weights")
    torch.save([1, 2], "list.pt")
    save_file(TinyNet(4, 4).state_dict(), "four.safetensors")
    with pytest.raises(UserError, match=message):
        teacher_from(name)


class Flat(nn.Module):
    """Answers with the mean of each channel: what it sees of the normalisation."""

    pretrained_cfg: dict[str, Any] = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}  # noqa: RUF012

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([images.mean((2, 3)), images.mean((1, 2, 3))[:, None]], dim=1)


def test_a_teacher_of_another_source_sees_images_in_its_own_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.create_model", lambda name, pretrained: Flat())
    teacher = teacher_from("timm:flat")
    grey = torch.full((1, 3, 8, 8), 0.6)
    normalized = (grey - 0.5) / 0.25  # As DATA does it.
    wanted = [(0.6 - 0.1) / 0.5, (0.6 - 0.2) / 0.5, (0.6 - 0.3) / 0.5]
    assert teacher(normalized)[0, :3].tolist() == pytest.approx(wanted)


def test_a_teacher_of_other_classes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "torchvision.models.get_model", lambda name, weights: nn.Sequential(nn.Flatten(), nn.Linear(192, 7))
    )
    with pytest.raises(UserError, match="knows 7 classes and tiny has 4"):
        teacher_from("torchvision:flat")
