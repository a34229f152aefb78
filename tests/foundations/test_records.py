from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.records import CostRecord, EpochRecord, load_lines, load_record, save_lines, save_record

COSTS = CostRecord(macs=1, params=2, input_shape=(3, 32, 32), num_classes=10)
EPOCH = EpochRecord(
    epoch=1, learning_rate=0.1, train_loss=2.3, train_top1_percent=10.0, val_loss=2.3, val_top1_percent=0.1 + 0.2
)


def test_a_record_survives_its_file_exactly(tmp_path: Path) -> None:
    save_record(tmp_path / "costs.json", COSTS)
    assert load_record(tmp_path / "costs.json", CostRecord) == COSTS


def test_lines_survive_their_file_exactly(tmp_path: Path) -> None:
    save_lines(tmp_path / "metrics.jsonl", [EPOCH, EPOCH])
    assert load_lines(tmp_path / "metrics.jsonl", EpochRecord) == [EPOCH, EPOCH]


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_lines(tmp_path / "metrics.jsonl", [EPOCH.model_copy(update={"val_loss": float("nan")})])
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    "text", ["{", '{"macs": 1}', '{"macs":1,"params":2,"input_shape":[3,4,5],"num_classes":1,"x":0}']
)
def test_a_torn_or_foreign_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(UserError, match=r"costs\.json is not a CostRecord"):
        load_record(tmp_path / "costs.json", CostRecord)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*absent\.json"):
        load_record(tmp_path / "absent.json", CostRecord)
