"""A mistake that can be seen without torch is answered without it, in the words of the full check."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vtbench.models  # noqa: F401 - the full check needs the models.
from vtbench.catalog import load_catalog
from vtbench.cli import waiting
from vtbench.cli.first_checks import WITHOUT_ATTENTION
from vtbench.cli.waiting import tell_waiting
from vtbench.errors import UserError
from vtbench.locking import hold_lock, refuse_held
from vtbench.records import save_record
from vtbench.tokens.attention import Wish, observe_attention
from vtbench.variants import canonical_spelling, create_model

sys.path.append(str(Path(__file__).parents[1] / "reporting"))
from synthetic_runs import make_run

PROGRAM = """
import sys
from vtbench.cli.main import app
from vtbench.errors import UserError
for line in {lines!r}:
    try:
        app(line, standalone_mode=False)
    except UserError as error:
        print("torch" in sys.modules, error)
"""


def refuse(*lines: list[str]) -> list[str]:
    """What each of the command lines is answered with, after whether torch had been loaded by then."""
    command = [sys.executable, "-c", PROGRAM.format(lines=lines)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_names_and_paths_are_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    gone, run, study = str(tmp_path / "gone"), tmp_path / "run", tmp_path / "study.toml"
    save_record(run / "record.json", make_run("a", 0, 60.0, variant="resnet20"))
    (run / "weights.safetensors").touch()
    study.write_text('question = "q"\n[arms]\na = "resnet20"\n[tuning]\nrecipe.epochs = [0, 1]\n')
    mistakes = {
        "no model named 'resnet21'": ["train", "resnet21"],
        "unknown option 'widht'": ["train", "resnet20:widht=3"],
        "'tokenizer' was given 'foo': allowed: ": ["train", "vt_resnet20:tokenizer=foo"],
        "no data set named 'scnes'": ["train", "resnet20", "--data", "scnes"],
        "can be taken from": ["train", "resnet20", "--init", __file__],
        f"no finished run in {tmp_path}": ["train", "resnet20", "--init", str(tmp_path)],
        "'timm:' is not a model": ["train", "resnet20", "--init", "timm:"],
        "unknown knob 'cluter'": ["train", "resnet20", "--data", "scenes:cluter=3"],
        f"There is no file or folder {gone}": ["train", "resnet20", "--data", f"folder:{gone}"],
        "no recipe named 'smal'": ["train", "resnet20", "--recipe", "smal"],
        "No weights to start from lie at": ["train", "resnet20", "--init", gone],
        "is no file that holds data": ["evaluate", str(run), "--data", "parquet:/dev/null"],
        "which is no name for the file": ["export", str(run), "--out", "/"],
        "--jobs was given '²'": ["ablate", "components", "--jobs", "²"],
        "[tuning]: 'recipe.epochs' was given 0": ["ablate", str(study)],
        "is no trained network": ["train", "resnet20", "--recipe", "advanced", "--teacher", gone],
        "no study named 'componets'": ["ablate", "componets"],
        "no model named 'vt_resnet21'": ["ablate", "components", "--base", "vt_resnet21"],
        "has no arm 'statik'": ["ablate", "components", "--arm", "statik"],
        "data set named 'scne'": ["ablate", "components", "--data", "scne", "--out", gone],
        "no model named 'vt_resnet43'": ["tokens", "--model", "vt_resnet43", "--index", "0"],
        "There is no finished run in": ["tokens", gone, "--index", "0"],
        "'num_tokens' was given 'abc': allowed: a whole number": ["train", "vt_resnet20:num_tokens=abc"],
        "resnet18 has no visual tokens and no attention": ["tokens", "--model", "resnet18", "--image", __file__],
        "vt_resnet20 has some. Leave": ["tokens", "--model", "vt_resnet20", "--image", __file__, "--head", "0"],
        "resnet20 has no visual tokens and no": ["tokens", str(run), "--index", "0"],
        f"The image {gone} cannot be read": ["tokens", "--model", "vt_resnet20", "--image", gone],
        "--index needs --data here": ["tokens", "--model", "vt_resnet20", "--index", "0"],
        "no device named 'gpu'. Did you mean 'cuda'?": ["train", "resnet20", "--device", "gpu"],
        "no finished run in": ["predict", gone, "--image", str(tmp_path)],
        f"no finished run in {gone}": ["evaluate", gone],
        f"finished run in {gone}": ["export", gone],
        "no model named 'resnet22'": ["profile", "resnet22"],
        "no model named 'resnet23'": ["profile", "resnet20", "--against", "resnet23"],
        "unknown option 'widths'": ["profile", "resnet20:widths=3"],
        "'big' is not a size": ["profile", "resnet20", "--image-size", "big"],
        "'image=' is not one": ["profile", "resnet20", "--input", "image="],
        "which is a pipe or a device": ["profile", "resnet20", "--out", "/dev/null"],
        f"{tmp_path}, which is a folder": ["profile", "resnet*", "--out", str(tmp_path)],
        "no place for --measure": ["profile", "resnet*", "--measure"],
    }
    answers = refuse(*mistakes.values())
    assert len(answers) == len(mistakes)
    for expected, answer in zip(mistakes, answers, strict=True):
        assert answer.startswith("False ")
        assert expected in answer


@pytest.mark.parametrize("name", ["resnet20", "se_resnet20", "fpn_resnet18:width=4"])
def test_families_that_are_said_to_have_no_attention_have_none(name: str) -> None:
    family = next(entry.family for entry in load_catalog() if entry.name == name.partition(":")[0])
    assert family in WITHOUT_ATTENTION
    with pytest.raises(UserError, match="no visual tokens and no attention to look at"):
        observe_attention(create_model(name, num_classes=2, image_size=32), torch.zeros(1, 3, 32, 32), Wish())


@pytest.mark.parametrize("variant", ["resnet21", "resnet20:widht=3", "vt_resnet20:tokenizer=foo"])
def test_the_early_answer_is_that_of_the_full_check(variant: str) -> None:
    with pytest.raises(UserError) as full:
        canonical_spelling(variant)
    added = " One that was just added here is known after make golden." if variant == "resnet21" else ""
    added += " One of a package is known once that is installed." if variant == "resnet21" else ""
    assert refuse(["train", variant]) == [f"False {full.value}{added}"]


def test_a_held_folder_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    with hold_lock(tmp_path / "lock"), hold_lock(tmp_path / "run" / ".lock"):
        answers = refuse(
            ["ablate", "components", "--out", str(tmp_path)], ["train", "resnet20", "--out", str(tmp_path / "run")]
        )
    assert len(answers) == 2
    for answer in answers:
        assert answer.startswith("False The folder")
        assert "is in use by" in answer


def test_to_look_whether_a_folder_is_held_changes_nothing(tmp_path: Path) -> None:
    refuse_held(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []
    with hold_lock(tmp_path / "lock"):
        pass
    before = (tmp_path / "lock").stat()
    refuse_held(tmp_path / "lock")
    assert (tmp_path / "lock").stat() == before


def test_what_takes_long_says_so_and_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "FIRST_AFTER_SECONDS", 0.01)
    told = waiting.threading.Event()

    def how_far() -> str:
        told.set()
        return "3 of 7"

    with tell_waiting("counting", how_far):
        assert told.wait(10)
    assert capsys.readouterr().err.startswith("vtbench: counting, 3 of 7 (")


def test_the_time_of_a_step_is_said_when_it_ends_and_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "is_verbose", lambda: True)
    with tell_waiting("counting") as end:
        end()
        assert capsys.readouterr().err == "vtbench: counting: 0.0 s\n"
    assert capsys.readouterr().err == ""


def test_what_is_done_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with tell_waiting("counting"):
        pass
    assert capsys.readouterr().err == ""


def test_a_step_that_turns_to_another_is_told_as_that_and_timed_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "is_verbose", lambda: True)
    clock = iter((0.0, 5.0, 5.0, 7.0, 9.0))
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(clock))
    with tell_waiting("reading") as end:
        end.turn_to("measuring")
        end()
        end.turn_to("a step after the last")
    assert capsys.readouterr().err == "vtbench: reading: 5.0 s\nvtbench: measuring: 2.0 s\n"


LOADS = """
import contextlib, sys
from vtbench.cli import waiting
plain = waiting.tell_waiting
@contextlib.contextmanager
def spy(what, *rest):
    with plain(what, *rest) as begun:
        yield begun
    if what == "loading torch and the models":
        print("torch" in sys.modules and "vtbench.layers.stated_cost" in sys.modules)
        raise SystemExit
waiting.tell_waiting = spy
from vtbench.cli.main import run
run()
"""


@pytest.mark.parametrize(
    "words",
    [("train", "resnet20", "--data", "scenes", "-o", "new"), ("tokens", "--model", "vt_resnet20", "--index", "0")],
)
def test_the_time_that_torch_takes_to_load_is_that_of_loading_torch(words: tuple[str, ...], tmp_path: Path) -> None:
    extra = ("--data", "scenes") if words[0] == "tokens" else ()
    answer = subprocess.run(
        [sys.executable, "-c", LOADS, *words, *extra], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (answer.stdout, answer.returncode) == ("True\n", 0), answer.stderr
