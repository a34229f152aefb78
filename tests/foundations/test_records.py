import json
from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.records import (
    CostRecord,
    EpochRecord,
    NotMeasured,
    RunRecord,
    load_lines,
    load_record,
    save_lines,
    save_record,
)

ARCHIVED = Path(__file__).resolve().parents[2] / "reports" / "attention_cifar10" / "records" / "se-seed1.json"

COSTS = CostRecord(macs=1, params=2, input_shape=(3, 32, 32), num_classes=10)
EPOCH = EpochRecord(
    epoch=1,
    learning_rate=0.1,
    train={"loss": 2.3, "top1_percent": 10.0},
    val={"loss": 2.3, "top1_percent": 0.1 + 0.2},
)


def test_a_record_survives_its_file_exactly(tmp_path: Path) -> None:
    save_record(tmp_path / "costs.json", COSTS)
    assert load_record(tmp_path / "costs.json", CostRecord) == COSTS


def test_lines_survive_their_file_exactly(tmp_path: Path) -> None:
    save_lines(tmp_path / "metrics.jsonl", [EPOCH, EPOCH])
    assert load_lines(tmp_path / "metrics.jsonl", EpochRecord) == [EPOCH, EPOCH]


def test_not_a_number_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_lines(tmp_path / "metrics.jsonl", [EPOCH.model_copy(update={"val": {"loss": float("nan")}})])
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


def test_an_archived_record_of_format_1_is_read_with_the_same_numbers() -> None:
    old, record = json.loads(ARCHIVED.read_text()), load_record(ARCHIVED, RunRecord)
    assert "format" not in old
    assert (record.format, record.task, record.headline) == (2, "classification", old["val_top1_percent"])
    for before, now in zip(old["epochs"], record.epochs, strict=True):
        assert now.train == {"loss": before["train_loss"], "top1_percent": before["train_top1_percent"]}
        assert now.val == {"loss": before["val_loss"], "top1_percent": before["val_top1_percent"]}
        assert (now.averaged_val, now.learning_rate) == (None, before["learning_rate"])
    assert record.outcome == record.epochs[-1].val
    assert record.certificate is not None
    assert record.certificate.model_dump() == old["certificate"]


def test_averaged_and_failed_records_of_format_1_are_read_as_such(tmp_path: Path) -> None:
    old = json.loads(ARCHIVED.read_text())
    for epoch in old["epochs"]:
        epoch |= {"ema_val_loss": 0.5, "ema_val_top1_percent": old["val_top1_percent"]}
    (tmp_path / "averaged.json").write_text(json.dumps(old))
    averaged = load_record(tmp_path / "averaged.json", RunRecord)
    assert averaged.outcome == averaged.epochs[-1].averaged_val == {"loss": 0.5, "top1_percent": averaged.headline}
    failed = old | {"status": "failed", "val_top1_percent": {"reason": "NaN"}, "error": "NaN"}
    (tmp_path / "failed.json").write_text(json.dumps(failed))
    assert load_record(tmp_path / "failed.json", RunRecord).headline == NotMeasured(reason="NaN")


def test_what_is_read_in_format_1_is_written_in_format_2_and_read_as_the_same(tmp_path: Path) -> None:
    record = load_record(ARCHIVED, RunRecord)
    save_record(tmp_path / "record.json", record)
    assert json.loads((tmp_path / "record.json").read_text())["format"] == 2
    assert load_record(tmp_path / "record.json", RunRecord) == record


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"format": 3}, "Input should be 2"),
        ({"task": "clasification"}, "there is no task 'clasification'"),
        ({"outcome": {"loss": 1.0}}, "the outcome lacks top1_percent"),
    ],
)
def test_a_record_of_another_format_or_task_is_refused(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    plain = load_record(ARCHIVED, RunRecord).model_dump(mode="json") | change
    (tmp_path / "record.json").write_text(json.dumps(plain))
    with pytest.raises(UserError, match=problem):
        load_record(tmp_path / "record.json", RunRecord)


def test_the_averaged_weights_count_where_there_are_any() -> None:
    averaged = EPOCH.model_copy(update={"averaged_val": {"loss": 1.0, "top1_percent": 75.0}})
    assert (EPOCH.outcome, averaged.outcome) == (EPOCH.val, averaged.averaged_val)
