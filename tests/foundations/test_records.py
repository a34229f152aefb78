import json
import math
import pkgutil
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest

import vtbench.records
from vtbench.configuration import DataConfig, ExecutionConfig, RunConfig
from vtbench.errors import UserError
from vtbench.records import (
    CostRecord,
    EpochRecord,
    NotMeasured,
    Record,
    RunRecord,
    append_lines,
    load_lines,
    load_record,
    save_lines,
    save_record,
)
from vtbench.training.recipe import load_recipe

REPORTS = Path(__file__).resolve().parents[2] / "reports"
ARCHIVED = Path(__file__).with_name("record_of_format_1.json")

COSTS = CostRecord(macs=1, params=2, input_shape=(3, 32, 32), num_classes=10)
EPOCH = EpochRecord(
    epoch=1,
    learning_rate=0.1,
    train={"loss": 2.3, "top1_percent": 10.0},
    val={"loss": 2.3, "top1_percent": 0.1 + 0.2},
)
MODULES = [f"vtbench.records.{module.name}" for module in pkgutil.iter_modules(vtbench.records.__path__)]
KINDS = {
    kind.__name__: kind
    for module in map(import_module, MODULES)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record
}


def make_values(wanted: Any, within: tuple[type[Record], ...] = ()) -> Iterator[Any]:
    """A value for each alternative of a type that a field may have of a record ``within`` others; none of these."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        for alternative in inner:
            yield from make_values(alternative, within)
    elif origin is Literal:
        yield from inner
    elif origin is tuple:
        yield tuple(next(make_values(part, within)) for part in inner if part is not ...)
    elif origin is dict:
        yield {"top1_percent" if inner[0] is str else 7: next(make_values(inner[1], within))}
    elif isinstance(wanted, type) and issubclass(wanted, Record):
        if wanted not in within:
            yield from make_records(wanted, within)
    elif wanted is RunConfig:
        recipe = load_recipe("small")
        yield RunConfig(variant="x", data=DataConfig(spec="y"), recipe=recipe, execution=ExecutionConfig(), seed=3)
    else:
        plain = {int: 2**60 + 1, float: 0.1 + 0.2, str: "classification", bool: True, type(None): None, Any: [[1, 2]]}
        yield plain[wanted]


def make_records(kind: type[Record], within: tuple[type[Record], ...] = ()) -> Iterator[Record]:
    """Records of one kind: one full of first alternatives, then each other alternative of each field in its place."""
    within = (*within, kind)
    first = {name: next(make_values(field.annotation, within)) for name, field in kind.model_fields.items()}
    yield kind(**first)
    for name, field in kind.model_fields.items():
        for value in list(make_values(field.annotation, within))[1:]:
            yield kind(**{**first, name: value})


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_result_comes_back_from_its_file_with_values_and_types(name: str, tmp_path: Path) -> None:
    for record in make_records(KINDS[name]):
        save_record(tmp_path / "record.json", record)
        again = load_record(tmp_path / "record.json", KINDS[name])
        assert again == record
        assert repr(again) == repr(record)


def test_a_record_that_knows_no_class_names_is_written_as_it_was(tmp_path: Path) -> None:
    plain = json.loads((REPORTS / "segmentation_camvid" / "records" / "FPN-seed0.json").read_text())
    earlier = {key: value for key, value in plain.items() if key not in RunRecord.LATER}
    assert "class_names" in plain.keys() - earlier.keys()
    (tmp_path / "earlier.json").write_text(json.dumps(earlier, indent=2, sort_keys=True) + "\n")
    record = load_record(tmp_path / "earlier.json", RunRecord)
    assert record.class_names == ()
    save_record(tmp_path / "again.json", record)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "earlier.json").read_bytes()


def test_records_are_read_without_torch() -> None:
    program = f"import sys, {', '.join(MODULES)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


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


def test_a_damaged_record_of_format_1_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"val_top1_percent": null}')
    with pytest.raises(UserError, match=r"record\.json is not a RunRecord: "):
        load_record(tmp_path / "record.json", RunRecord)


@pytest.mark.parametrize("epochs", [[5], [{"epoch": 0, "train_loss": 1.0}], [{"epoch": 0, "val": 5}], "none"])
def test_epochs_of_format_1_that_are_none_are_named(tmp_path: Path, epochs: Any) -> None:
    old = json.loads(ARCHIVED.read_text("utf-8"))
    (tmp_path / "record.json").write_text(json.dumps({**old, "epochs": epochs}))
    with pytest.raises(UserError, match="is not a RunRecord: "):
        load_record(tmp_path / "record.json", RunRecord)


def test_a_torn_record_of_format_1_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(ARCHIVED.read_text("utf-8")[:-20])
    with pytest.raises(UserError, match="is not a RunRecord: the file: Invalid JSON"):
        load_record(tmp_path / "record.json", RunRecord)


def test_epochs_of_format_1_are_read_line_by_line(tmp_path: Path) -> None:
    old = json.loads(ARCHIVED.read_text())["epochs"]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in old))
    assert tuple(load_lines(tmp_path / "metrics.jsonl", EpochRecord)) == load_record(ARCHIVED, RunRecord).epochs


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
        ({"outcome": {"loss": math.inf, "top1_percent": 10.0}}, "finite number"),
        ({"epochs": [EPOCH.model_dump() | {"val": {"loss": math.nan}}]}, r"epoch \d holds a number that is infinite"),
        ({"epochs": [EPOCH.model_dump() | {"learning_rate": 1e308}]}, r"epoch \d .* out of all bounds"),
        ({"outcome": {"loss": 1.0, "top1_percent": -1e308}}, "the outcome holds a number .* out of all bounds"),
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


def test_damaged_lines_are_one_message(tmp_path: Path) -> None:
    path = tmp_path / "epochs.jsonl"
    save_lines(path, [EPOCH, EPOCH])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=r"no file of EpochRecords: line 2: .*Remove it"):
        load_lines(path, EpochRecord)
    path.write_bytes(b"\xff\n")
    with pytest.raises(UserError, match=r"no file of EpochRecords: line 1"):
        load_lines(path, EpochRecord)


@pytest.mark.parametrize("moved", ["joined", "broken"])
def test_as_many_records_as_lines_are_no_proof_that_each_line_is_one(tmp_path: Path, moved: str) -> None:
    path = tmp_path / "epochs.jsonl"
    save_lines(path, [EPOCH, EPOCH])
    first, second = path.read_text("utf-8").splitlines()
    torn = f"{first},{second}\n" if moved == "joined" else f"{first.replace(', ', chr(10), 1)},{second}\n"
    path.write_text(torn, "utf-8")
    with pytest.raises(UserError, match="no file of EpochRecords: line 1"):
        load_lines(path, EpochRecord)


@pytest.mark.parametrize(
    "foreign", [b"my notes", b"first\nsecond", b'{"a": 1}', b"\x89PNG\r", b"[1, 2]", b'{"a": 1}\n{"b": 2}']
)
def test_a_file_of_something_else_is_refused_with_its_last_line_kept(tmp_path: Path, foreign: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(foreign)
    with (
        pytest.raises(UserError, match=r"is no file of EpochRecords.*Name another file"),
        append_lines(path, EpochRecord),
    ):
        pass
    assert path.read_bytes() == foreign


def test_a_last_line_that_was_cut_short_anywhere_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    save_lines(path, [EPOCH])
    whole = path.read_bytes()
    for length in range(1, len(whole) - 1):
        path.write_bytes(whole + whole[:length])
        with append_lines(path, EpochRecord) as (found, _):
            assert found == [EPOCH]
        assert path.read_bytes() == whole


def test_a_name_that_is_no_text_is_spelled_out_in_a_record_that_can_be_read_again(tmp_path: Path) -> None:
    save_record(tmp_path / "a.json", NotMeasured(reason="r\udcff of \\ é"))
    assert load_record(tmp_path / "a.json", NotMeasured).reason == "r\\udcff of \\ é"
    save_lines(tmp_path / "a.jsonl", [NotMeasured(reason="r\udcff of \\ é")])
    with append_lines(tmp_path / "a.jsonl", NotMeasured) as (found, add):
        add(NotMeasured(reason="r\udcff again"))
    assert [one.reason for one in (*found, *load_lines(tmp_path / "a.jsonl", NotMeasured)[1:])] == [
        "r\\udcff of \\ é", "r\\udcff again"
    ]  # fmt: skip
