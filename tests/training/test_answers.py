"""What a run keeps of its last evaluation: the answer to each image, for tests that pair runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_parts import load_both, tiny_config

from vtbench.configuration import DataConfig
from vtbench.datasets import load_dataset
from vtbench.errors import UserError
from vtbench.files import hash_file, publish_bytes
from vtbench.records.answers import Answers, load_answers, pack_answers
from vtbench.run_folder import ANSWERS
from vtbench.training import train_run


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.usefixtures("tiny")
def test_the_answers_of_a_run_come_to_the_metric_of_its_record_and_have_the_hash_that_it_names(
    task: str, tmp_path: Path
) -> None:
    record = train_run(tiny_config(), tmp_path / "run")
    file = tmp_path / "run" / ANSWERS
    assert record.answers_sha256 == hash_file(file)
    answers = load_answers(file, record.answers_sha256)
    assert len(answers.scores) == record.num_val and answers.task == task
    assert np.array_equal(answers.rows, np.arange(record.num_val))
    if task == "classification":
        assert answers.scores.mean() == pytest.approx(record.headline)
        assert 100 * answers.is_correct.mean() == pytest.approx(record.headline)
    else:
        with pytest.raises(UserError, match="not right or wrong as a whole"):
            _ = answers.is_correct


@pytest.mark.parametrize("task", ["classification"])
def test_a_run_keeps_which_images_of_the_split_its_seed_drew(tmp_path: Path, tiny: pytest.MonkeyPatch) -> None:
    tiny.setattr("vtbench.training.preparation.load_datasets", load_both(load_dataset))
    data, rows = DataConfig(spec="scenes:num_train=20,num_val=30", image_size=16, limit_val=15), []
    for seed in (0, 1):
        record = train_run(tiny_config().model_copy(update={"data": data, "seed": seed}), tmp_path / str(seed))
        rows.append(load_answers(tmp_path / str(seed) / ANSWERS, record.answers_sha256).rows)
        assert np.array_equal(rows[-1], load_dataset(data, "val", seed=seed).rows)
    assert not np.array_equal(*rows)


def test_answers_take_one_byte_an_image_and_number_and_come_back_as_they_were(tmp_path: Path) -> None:
    truth, predicted = np.arange(200), np.arange(200)[::-1]
    small = Answers.of_classes("classification", truth, predicted, num_classes=200, rows_N=np.arange(200) + 56)
    publish_bytes(tmp_path / ANSWERS, pack_answers(small))
    assert (tmp_path / ANSWERS).stat().st_size < 3 * 200 + 350
    read = load_answers(tmp_path / ANSWERS, hash_file(tmp_path / ANSWERS))
    assert np.array_equal(read.truth, truth) and np.array_equal(read.predicted, predicted)
    assert np.array_equal(read.rows, np.arange(200) + 56)
    assert pack_answers(read) == pack_answers(small)
    wide = Answers.of_classes("classification", truth, predicted, num_classes=1000)
    assert wide.truth is not None and wide.truth.dtype == np.uint16


def test_answers_that_were_changed_or_are_none_are_refused(tmp_path: Path) -> None:
    publish_bytes(tmp_path / ANSWERS, b"no answers at all")
    with pytest.raises(UserError, match="no file of answers"):
        load_answers(tmp_path / ANSWERS, None)
    with pytest.raises(UserError, match="not that of the record"):
        load_answers(tmp_path / ANSWERS, "0" * 64)
    with pytest.raises(UserError, match="Cannot read the answers"):
        load_answers(tmp_path / "gone", None)
