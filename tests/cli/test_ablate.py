"""``vtbench ablate`` as a user meets it: real models and data, few images; and every mistake one message."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vtbench.cli.main import run
from vtbench.studies.cells import ResolvedStudy, list_cells
from vtbench.studies.executors.in_process import InProcess
from vtbench.studies.executors.local import LocalProcesses
from vtbench.studies.running import StudyOutcome
from vtbench.studies.verification import ResumeCheck

Call = Callable[..., tuple[int, str, str]]

STUDY = """
question = "Does width pay?"
recipe = "small"
epochs = 1
seeds = 1
reference = "narrow"

[data]
spec = "scenes"
limit_train = 40
limit_val = 20

[arms]
narrow = "resnet20:width=2"
wide = "resnet20:width=4"
"""


@pytest.fixture
def vtbench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Call:
    """Call the command in a folder that holds the study ``mine.toml``; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(STUDY)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtbench", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
            raise SystemExit(0)
        output, errors = capfd.readouterr()
        return int(ended.value.code or 0), output, errors

    return call


def test_a_check_of_resuming_ends_with_1_where_an_arm_was_not_killed(
    vtbench: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills: list[int] = []

    def verify(study: ResolvedStudy, folder: Path, *ignored: object, **settings: object) -> list[ResumeCheck]:
        cells = [cell.with_threads(1) for cell in list_cells(study, folder)]
        return [ResumeCheck(cell, number, 0, number, {}, ()) for cell, number in zip(cells, kills, strict=True)]

    monkeypatch.setattr("vtbench.studies.verification.verify_resume", verify)
    for kills[:], expected in (([4, 4], 0), ([0, 4], 1), ([0, 0], 1)):
        code, output, _ = vtbench("ablate", "mine.toml", "--verify-resume", "--threads", "1", "--device", "cpu")
        assert code == expected, output
    code, output, _ = vtbench("ablate", "mine.toml", "--verify-resume", "--threads", "1", "--device", "cpu", "--json")
    assert code == 1 and [one["proved"] for one in json.loads(output)] == [False, False]


def test_a_study_runs_to_its_report_and_a_second_call_only_reports(vtbench: Call) -> None:
    code, output, errors = vtbench("ablate", "mine.toml", "--jobs", "2", "--threads", "2", "--device", "cpu")
    assert code == 0
    assert "\x1b" not in output + errors
    assert errors.startswith("mine: 2 cells (arms x seeds: 2 x 1), 0 done before\non scenes, recipe small, 1 epoch\n")
    assert "narrow, seed 0: finished with" in errors
    assert output.startswith("mine\n") and "Does width pay?" in output
    assert errors.splitlines()[-1].startswith("Report: runs/mine/report (report.md, report.html, 4 tables in tables/")
    assert Path("runs/mine/cells/wide/seed-0/weights.safetensors").exists()
    code, again, told = vtbench("ablate", "mine.toml", "--device", "cpu")
    assert (code, again) == (0, output)
    assert "begins" not in told
    assert told.splitlines()[-1] == errors.splitlines()[-1]


def test_the_studies_are_listed_with_their_questions(vtbench: Call) -> None:
    code, output, _ = vtbench("ablate", "--list")
    assert code == 0
    for name in ("components", "tokenizers", "recurrent", "relations", "num_tokens", "projector", "attention"):
        assert any(line.startswith(name) and "?" in line for line in output.splitlines())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["componets"], "no study named 'componets'. Did you mean 'components'"),
        (["there/is/none.toml"], "Cannot read the study there/is/none.toml"),
        (["mine.toml", "--epochs", "0"], "--epochs was given '0': allowed: "),
        (["mine.toml", "--seeds", "0"], "--seeds was given '0': allowed: "),
        (["mine.toml", "--limit-train", "0"], "--limit-train was given '0': allowed: "),
        (["mine.toml", "--jobs", "0"], "--jobs was given '0'. Give a number of cells from 1 to 10,000, or auto"),
        (["mine.toml", "--jobs", "many"], "--jobs was given 'many'"),
        (["mine.toml", "--threads", "0"], "--threads was given '0': allowed: "),
        (["mine.toml", "--executor", "lcoal"], "no executor named 'lcoal'. Did you mean 'local'"),
        (["mine.toml", "--store", "here"], "is no URL of a folder. Write s3://BUCKET/PATH"),
        (["mine.toml", "--store", "s3://a/b", "--fresh"], "Leave out one"),
        (["mine.toml", "--address", "auto"], "--address is that of a cluster, and --executor local has none"),
        (["mine.toml", "--executor", "ray:adress=auto"], "unknown knob 'adress'. Did you mean 'address'"),
        (["mine.toml", "--executor", "in_process", "--verify-resume"], "whose cells cannot be killed"),
        (["mine.toml", "--arm", "wider"], "The study has no arm 'wider'. Did you mean 'wide'"),
        (["mine.toml", "--recipe", "smal"], "no recipe named 'smal'. Did you mean 'small'"),
        (["mine.toml", "--data", "scene"], "'scene'"),
        (["mine.toml", "--data", "folder:nowhere"], "nowhere"),
        (["mine.toml", "--limit-train", "1000000"], "1000000"),
        (["mine.toml", "--device", "tpu"], "'tpu'"),
        (["mine.toml", "--precision", "int8"], "--precision was given 'int8': allowed: "),
        (["mine.toml", "--workers", "-1"], "--workers was given '-1': allowed: "),
        (["mine.toml", "--accumulate", "0"], "--accumulate was given '0': allowed: "),
        (["based.toml"], "names no base. Give one with --base"),
        (["based.toml", "--base", "resnet21"], "no model named 'resnet21'. Did you mean"),
        (["based.toml", "--base", "resnet20:widht=2"], "unknown option 'widht'. Did you mean 'width'"),
        (["unknown_key.toml"], "unknown key 'epoch'. Did you mean 'epochs'"),
        (["unknown_model.toml"], "The arm 'a' (resnet21)"),
    ],
)
def test_a_mistake_is_one_message_with_exit_code_2_and_leaves_nothing_behind(
    vtbench: Call, arguments: list[str], message: str
) -> None:
    Path("based.toml").write_text('question = "q"\n[arms]\na = "{base}"\n')
    Path("unknown_key.toml").write_text(STUDY.replace("epochs", "epoch"))
    Path("unknown_model.toml").write_text('question = "q"\n[arms]\na = "resnet21"\n')
    code, output, errors = vtbench("ablate", *arguments)
    assert code == 2
    assert message in errors
    assert errors.startswith("vtbench: ")
    assert len(errors.strip().splitlines()) == 1
    assert "begins" not in output
    assert not Path("runs").exists()


def test_a_folder_that_cannot_be_written_is_one_message(vtbench: Call) -> None:
    Path("file").write_text("")
    code, _, errors = vtbench("ablate", "mine.toml", "--out", "file/study")
    assert code == 2
    assert "Cannot write to the output folder file/study" in errors


def test_a_changed_study_is_refused_with_the_difference(vtbench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, finished=2)
    vtbench("ablate", "mine.toml", "--device", "cpu")
    code, _, errors = vtbench("ablate", "mine.toml", "--device", "cpu", "--epochs", "3")
    assert code == 2
    assert "recipe.epochs is 1 there and 3 now" in errors


def test_failed_cells_are_named_and_give_exit_code_1(vtbench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, finished=1, failed={"wide, seed 0": "The training loss became NaN."})
    code, _, errors = vtbench("ablate", "mine.toml", "--device", "cpu", "--json")
    assert code == 1
    assert "wide, seed 0: The training loss became NaN.\n" in errors
    assert "1 of 2 cells failed. The same command with --retry-failed runs them again" in errors
    code, _, errors = vtbench("ablate", "mine.toml", "--device", "cpu")
    assert (code, "became NaN" in errors) == (1, False), "the report has said so"


def test_a_stopped_study_says_how_to_go_on(vtbench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, finished=1, stopped=True)
    monkeypatch.setattr("vtbench.cli.verb_ablate._leave", sys.exit)
    code, _, errors = vtbench("ablate", "mine.toml", "--device", "cpu")
    assert code == 130
    assert "1 of 2 cells finished" in errors
    assert "The same command goes on from there" in errors


def test_the_flags_change_the_study(vtbench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _pretend(monkeypatch, finished=2)
    options = ["--epochs", "7", "--seeds", "2", "--limit-train", "50", "--image-size", "16", "--arm", "wide"]
    vtbench("ablate", "mine.toml", "--device", "cpu", *options, "--out", "there", "--retry-failed", "--jobs", "3")
    study, folder, session, wishes = seen[0]
    assert (study.recipe.epochs, study.seeds, study.arms) == (7, 2, {"wide": "resnet20:width=4"})
    assert (study.data.limit_train, study.data.limit_val, study.data.image_size) == (50, 20, 16)
    assert study.reference == "wide"
    assert folder == Path("there")
    assert (session.jobs, session.threads, wishes) == (3, None, {"retry_failed": True, "fresh": False})
    assert isinstance(session.executor, LocalProcesses)


def test_an_executor_is_found_by_its_name(vtbench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _pretend(monkeypatch, finished=2)
    vtbench("ablate", "mine.toml", "--device", "cpu", "--executor", "in_process")
    assert isinstance(seen[0][2].executor, InProcess)


def test_every_cell_is_carried_out_as_the_flags_say(vtbench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _pretend(monkeypatch, finished=2)
    flags = ["--precision", "bfloat16", "--accumulate", "2", "--workers", "3", "--no-channels-last", "--compile"]
    vtbench("ablate", "mine.toml", "--device", "cpu", *flags)
    execution = seen[0][0].execution
    assert (execution.precision, execution.accumulate, execution.workers) == ("bfloat16", 2, 3)
    assert (execution.channels_last, execution.compile, execution.device) == (False, True, "cpu")
    code, _, errors = vtbench("ablate", "mine.toml", "--device", "cpu", *flags[2:])
    assert code == 2
    assert "execution.precision is bfloat16 there and float32 now" in errors
    more_workers = ["--workers", "1", *flags[:4], *flags[6:]]
    assert vtbench("ablate", "mine.toml", "--device", "cpu", *more_workers)[0] == 0


def test_other_data_do_not_inherit_the_limits_of_the_files_own(vtbench: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _pretend(monkeypatch, finished=2)
    vtbench("ablate", "mine.toml", "--device", "cpu", "--data", "scenes:clutter=2")
    assert seen[0][0].data.limit_train is None


@pytest.mark.parametrize(
    ("arms", "named", "numbers"),
    [
        (
            "[factors]\ndata.limit_train = [30, 20]\nmodel = ['resnet20:width=2']",
            "scenes, limit_train=30 (1 of 2 arms has other data or limits): 30 training and 1,000 validation images",
            ("scenes", 30, [None, 20]),
        ),
        (
            "[arms]\na = { variant = 'resnet20:width=2', data.spec = 'scenes:num_train=70' }\n"
            "b = { variant = 'resnet20:width=2', data.limit_train = 20 }",
            "scenes:num_train=70 (1 of 2 arms has other data or limits): 70 training and 1,000 validation images",
            ("scenes:num_train=70", 70, [None, 20]),
        ),
        (
            "[factors]\ndata.spec = ['scenes:num_train=70']\nmodel = ['resnet20:width=2', 'resnet20:width=4']",
            "scenes:num_train=70: 70 training and 1,000 validation images",
            ("scenes:num_train=70", 70, [None, None]),
        ),
    ],
    ids=["limits", "data", "one for all"],
)
def test_a_plan_names_the_data_that_its_numbers_are_of_alike_in_words_and_in_json(
    vtbench: Call, arms: str, named: str, numbers: tuple[str, int, list[int | None]]
) -> None:
    Path("data.toml").write_text(f'question = "q"\nrecipe = "small"\nepochs = 1\nseeds = 1\n{arms}\n')
    plan = ("ablate", "data.toml", "--plan", "--no-probe", "--device", "cpu")
    code, output, _ = vtbench(*plan)
    assert (code, named in " ".join(output.split())) == (0, True), output
    written = json.loads(vtbench(*plan, "--json")[1])
    assert (written["data"], written["num_train"], [arm.get("num_train") for arm in written["arms"]]) == numbers


def _pretend(monkeypatch: pytest.MonkeyPatch, **outcome: object) -> list[tuple]:  # type: ignore[type-arg]
    """Let studies end at once with ``outcome``; returns what they were asked for."""
    from vtbench.studies import deciding
    from vtbench.studies.ledger import Ledger

    seen = []

    def pretend(study, folder, session, *, watcher, **wishes):  # type: ignore[no-untyped-def]
        Ledger(folder).adopt(study)
        seen.append((study, folder, session, wishes))
        return StudyOutcome(folder, 2, **outcome)  # type: ignore[arg-type]

    monkeypatch.setattr(deciding, "run_study", pretend)
    monkeypatch.setattr("vtbench.cli.verb_report.report_runs", lambda *given: None)
    return seen


def test_no_escape_sequences_are_printed_into_a_pipe(vtbench: Call) -> None:
    assert os.environ.get("FORCE_COLOR") is None
    assert "\x1b" not in vtbench("ablate", "--list")[1]
