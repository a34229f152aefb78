"""``import vtbench``: what the functions take is what the command line takes, and results show themselves."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtbench
from vtbench.configuration import ExecutionConfig
from vtbench.run_options import StudyOptions, TrainOptions

README = Path(__file__).parents[2] / "README.md"
SMALL: dict[str, Any] = {
    "data": "scenes:num_train=20,num_val=10",
    "recipe": "small",
    "epochs": 1,
    "device": "cpu",
    "threads": 1,
}


@pytest.mark.parametrize(
    ("function", "kinds", "left_out"),
    [
        (vtbench.train, (TrainOptions, ExecutionConfig), set()),
        (vtbench.run_study, (StudyOptions, ExecutionConfig), {"checkpoint_seconds"}),
    ],
)
def test_a_function_takes_every_option_of_its_verb_with_its_default(function: Any, kinds: Any, left_out: Any) -> None:
    options = {name: field.default for kind in kinds for name, field in kind.model_fields.items()}
    options["settings"] = options.pop("set")
    taken = {name: one.default for name, one in inspect.signature(function).parameters.items()}
    assert {name: taken.get(name, "missing") for name in options if name not in left_out} == {
        name: default for name, default in options.items() if name not in left_out
    }


def test_nothing_heavy_is_imported_until_it_is_used() -> None:
    program = (
        "import sys, vtbench; dir(vtbench); print({'torch', 'pandas', 'numpy', 'pydantic', 'rich'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "set()\n"
    program = (
        "import sys, vtbench; vtbench.load_runs, vtbench.report, vtbench.train, vtbench.run_study, vtbench.profile\n"
        "print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: vtbench.train("resnt20"), "Did you mean 'resnet20'"),
        (lambda: vtbench.train("resnet20", epochs=0), "vtbench.train: 'epochs' was given 0"),
        (lambda: vtbench.train("resnet20", settings={"recipe.epocs": 2}), "Did you mean 'recipe.epochs'"),
        (lambda: vtbench.train(object()), "FILE.py:CALLABLE"),  # type: ignore[arg-type]
        (lambda: vtbench.profile("resnet18", num_classes=0), "num_classes is 0"),
        (lambda: vtbench.profile("vt_resnet43"), "Did you mean 'vt_resnet34'"),
        (lambda: vtbench.run_study("component"), "Did you mean 'components'"),
        (lambda: vtbench.run_study(executor="x"), "no executor named 'x'"),
        (lambda: vtbench.run_study(jobs=0), "jobs is 0"),
        (lambda: vtbench.run_study({"question": "?"}), "a study needs"),
        (lambda: vtbench.report("nowhere"), "There is no folder nowhere"),
        (lambda: vtbench.report(), "Which runs"),
        (lambda: vtbench.load_runs(), "Which runs"),
        (lambda: vtbench.report([]), "Which runs"),
        (lambda: vtbench.load_runs("nowhere", per="day"), "per is 'day'"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing(
    call: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vtbench.UserError, match=message):
        call()
    assert list(tmp_path.iterdir()) == []


def test_the_example_of_the_readme_runs_and_its_results_show_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    section = README.read_text("utf-8").partition("## In Python")[2]
    (example,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    assert len(example.splitlines()) <= 24
    names: dict[str, Any] = {}
    exec(example.replace("jobs=1", 'jobs=1, threads=1, executor="in_process"'), names)  # Without a process a cell.
    assert "epoch 1/1" in capsys.readouterr().out
    assert Path("runs/tokens/report/report.md").is_file()
    runs, run, study = names["runs"], names["run"], names["study"]
    assert runs[["arm", "seed"]].values.tolist() == [
        ["convolutions", 0],
        ["convolutions", 1],
        ["tokens", 0],
        ["tokens", 1],
    ]
    assert set(runs["data.limit_train"]) == {100}
    assert (run.epochs["seconds"] > 0).all() and (run.epochs["train_images_per_second"] > 0).all()
    assert list(vtbench.load_runs("runs", per="epoch")["epoch"]) == [1] * 5
    places = vtbench.load_runs("runs").fillna({"study_folder": "none"}).groupby("study_folder")["folder"].nunique()
    assert places.to_dict() == {"none": 1, "runs/tokens": 4}
    assert repr(run).startswith("Run(vt_resnet20:width=8, seed 0: top-1 ")
    assert repr(study) == "StudyRun(runs/tokens: 4 of 4 cells finished)"
    report = study.report(against="tokens")
    assert "against tokens (points)" in repr(report)
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, repr(report).splitlines())) <= 80
    for shown, num_tables in ((run, 1), (study, 3), (report, 3), (vtbench.profile("resnet20"), 1)):
        assert (
            shown._repr_html_().count("<table>") == num_tables
        )  # Of a report also the runs, and the comparison over images.
    profile = vtbench.profile("resnet20")
    assert repr(profile) == "Profile(resnet20 at 1x3x32x32: 40.55 M MACs, 0.27 M parameters)"
    again = vtbench.train("vt_resnet20:width=8", **names["small"], progress=False)
    assert again.record == run.record


def test_a_run_that_fails_raises_with_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vtbench.RunFailed, match="resnet20:width=2, seed 0, failed: ") as caught:
        vtbench.train("resnet20:width=2", **SMALL, learning_rate=1e30, batch_size=5, progress=False)
    assert caught.value.run.record.status == "failed"
    assert "failed" in repr(caught.value.run)
    runs = vtbench.load_runs("runs")
    assert runs["status"].tolist() == ["failed"]


def test_runs_that_were_not_finished_are_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vtbench.train("resnet20:width=2", "runs/whole", **SMALL, progress=False)
    Path("runs/begun").mkdir()
    Path("runs/begun/config.json").write_text(Path("runs/whole/config.json").read_text())
    with pytest.warns(UserWarning, match="Left out: begun: begun but not finished"):
        assert len(vtbench.load_runs("runs")) == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_trackers_are_told_of_runs_and_studies_and_one_that_fails_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    with pytest.warns(UserWarning, match="Tracking with mlflow failed and ends here") as warned:
        run = vtbench.train("resnet20:width=2", **SMALL, track=["mlflow", "tensorboard"], progress=False)
    assert warned[0].filename == __file__ and run.record.status == "finished"
    alone = {"jobs": 1, "executor": "in_process", "progress": False}
    study = vtbench.run_study(
        {"question": "Which?", "arms": {"one": "resnet20:width=2"}}, **SMALL, seeds=1, **alone, track="tensorboard"
    )
    assert study.outcome.finished == 1
    for folder in (run.folder, *Path("runs/study").rglob("seed-0"), Path("runs/study")):
        events = EventAccumulator(str(next(folder.rglob("events.out*")).parent))
        events.Reload()
        assert events.Tags()["tensors" if folder.name == "study" else "scalars"], folder
    with pytest.raises(vtbench.UserError, match="Did you mean 'tensorboard'"):
        vtbench.train("resnet20:width=2", "new", **SMALL, track="tensorbord")
    assert not Path("new").exists()


def test_whole_numbers_of_numpy_are_whole_numbers(tmp_path: Path) -> None:
    two, side, batch = np.array([2, 32, 4])
    given = [(side, two, batch), ((side, side), two, batch), (32, 2, 4)]
    costs = [vtbench.profile("resnet20", size, num_classes=n, batch_size=images) for size, n, images in given]
    assert costs[0] == costs[1] == costs[2]
    question = {"question": "Is it?", "arms": {"a": "resnet20:width=2"}, "data": "scenes:num_train=20,num_val=10"}
    study = vtbench.run_study(
        question, out=tmp_path, recipe="small", epochs=two - 1, seeds=two, jobs=two - 1, executor="in_process",
        device="cpu", progress=False,
    )  # fmt: skip
    assert study.runs["seed"].tolist() == [0, 1]


WRONG = {
    "a folder of a report": (lambda: vtbench.report(3), "vtbench.report: a folder is 3. Give a path"),
    "a folder of runs": (lambda: vtbench.load_runs(3), "vtbench.load_runs: a folder is 3. Give a path"),
    "a folder of a run": (lambda: vtbench.load_run(3), "vtbench.load_run: folder is 3. Give a path"),
    "a folder to train in": (lambda: vtbench.train("resnet20", 3), "vtbench.train: out is 3. Give a path"),
    "a folder of a study": (lambda: vtbench.run_study("components", out=3), "vtbench.run_study: out is 3. Give a path"),
    "a number of cells": (
        lambda: vtbench.run_study("components", jobs="two"),
        "vtbench.run_study: jobs is 'two'.",
    ),
    "a tracker": (lambda: vtbench.train("resnet20", track=3), "track is 3. Give the name of a tracker"),
    "a batch": (
        lambda: vtbench.profile("resnet20", batch_size="x"),
        "vtbench.profile: batch_size is 'x'. Give a",
    ),
    "a side": (lambda: vtbench.profile("resnet20", 3.5), "The input size 3.5 has no whole numbers. Give a side"),
    "a word": (lambda: vtbench.profile("resnet20", "big"), "The input size 'big' has no whole numbers. Give a side"),
    "a shape": (lambda: vtbench.profile("resnet20", (3, "a")), "The input size (3, 'a') has no whole numbers. Give"),
    "on for a side": (lambda: vtbench.profile("resnet20", True), "The input size True has no whole numbers. Give a"),
    "classes": (lambda: vtbench.profile("resnet20", num_classes=True), "vtbench.profile: num_classes is True. Give a"),
    "a folder of several": (lambda: vtbench.load_runs(["runs", 3]), "vtbench.load_runs: a folder is 3. Give a path"),
    "an argument": (
        lambda: vtbench.create_model("vt_resnet20", num_class=5),
        "The model 'vt_resnet20': unknown option 'num_class'. Did you mean 'num_classes'?",
    ),
    "an option of a model": (lambda: vtbench.create_model("vt_resnet20", num_token=5), "Did you mean 'num_tokens'"),
    "a model": (lambda: vtbench.create_model(3), "The name of a model is 3. Give a text"),
    "classes to build": (
        lambda: vtbench.create_model("resnet20", num_classes=2.5),
        "resnet20: num_classes is 2.5.",
    ),
    "a size": (lambda: vtbench.create_model("resnet20", image_size="q"), "resnet20: image_size is 'q'. Give a side"),
    "a side to build": (
        lambda: vtbench.create_model("resnet20", image_size=(32, 0)),
        "a side of image_size is 0.",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_value_of_a_wrong_kind_is_refused_before_anything_is_written(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, said = WRONG[what]
    with pytest.raises(vtbench.UserError, match=re.escape(said)):
        call()
    assert not list(tmp_path.iterdir())
