"""What people type without reading the manual: each is understood, in all verbs and in the same way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import vtbench
from vtbench.cli.main import build_command, list_verbs, run
from vtbench.datasets import list_datasets

WIDTH = 80


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Call the command in an empty folder, 80 columns wide; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(WIDTH))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vtbench", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
            raise SystemExit(0)
        output, errors = capsys.readouterr()
        return int(ended.value.code or 0), output, errors

    return call


@pytest.mark.parametrize("verb", list_verbs())
def test_h_is_help_and_fits_80_columns_without_a_cut_word(verb: str, call) -> None:
    code, short, errors = call(verb, "-h")
    assert (code, errors) == (0, "")
    assert short == call(verb, "--help")[1]
    assert max(map(len, short.splitlines())) <= WIDTH
    assert short.startswith(f"Usage: vtbench {verb} ")


def test_help_of_all_verbs_shows_whole_sentences(call) -> None:
    code, text, _ = call("-h")
    assert code == 0
    assert "..." not in text.partition("Commands:")[2]
    assert max(map(len, text.splitlines())) <= WIDTH


def test_version_names_torchs_without_loading_it(call) -> None:
    program = (
        "import sys; from vtbench.cli.main import app\n"
        "try: app(['--version'])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told, loaded = answer.stdout.splitlines()
    assert told.startswith(f"vtbench {vtbench.__version__} (torch {version('torch')}, torchvision ")
    assert loaded == "False"


@pytest.mark.parametrize("verb", [verb for verb in list_verbs() if verb not in ("list", "audit", "watch")])
def test_o_is_out_wherever_something_is_written(verb: str) -> None:
    assert any({"-o", "--out"} <= set(option.opts) for option in build_command(verb).params)


@pytest.mark.parametrize("name", ["device", "data", "recipe", "epochs", "precision"])
def test_an_option_of_one_name_has_one_default_and_one_type(name: str) -> None:
    found = {
        (str(option.default), str(option.type_descriptor.annotation).removesuffix(" | None"))
        for verb in list_verbs()
        for option in build_command(verb).params
        if f"--{name}" in option.opts and not (name in ("data", "recipe") and option.default is None)
    }
    assert len(found) <= 1


def test_wildcards_choose_models_and_several_patterns_are_taken_together(call) -> None:
    def names(*patterns: str) -> list[str]:
        code, out, _ = call("list", *patterns, "--format", "csv")
        assert code == 0
        return [line.partition(",")[0] for line in out.splitlines()[1:]]

    assert names("vt_resnet?8") == ["vt_resnet18"]
    assert set(names("vt_*")) == {name for name in names() if name.startswith("vt_")}
    assert set(names("resnet20", "*18")) == {name for name in names() if name == "resnet20" or name.endswith("18")}
    code, _, errors = call("list", "vti_*")
    assert code == 2
    assert errors.startswith("vtbench: No model is like 'vti_*'.")


def complete(*words: str) -> list[str]:
    """What bash is offered for the last of ``words``."""
    environment = {"_VTBENCH_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(("vtbench", *words))}
    environment |= {"COMP_CWORD": str(len(words)), "PATH": os.environ["PATH"]}
    program = "from vtbench.cli.main import run; run()"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stderr == ""
    return answer.stdout.split()


def test_the_shell_completes_verbs_options_models_studies_recipes_and_devices() -> None:
    assert complete("pr") == ["profile", "predict"]
    assert {"--learning-rate", "--lr"} <= set(complete("train", "--l"))
    assert "vt_resnet18" in complete("train", "vt_")
    assert "vt_resnet18:tokenizer=static" in complete("profile", "vt_resnet18:tok")
    assert {"components", "tokenizers"} <= set(complete("ablate", ""))
    assert complete("train", "resnet20", "--recipe", "sm") == ["small"]
    assert complete("train", "resnet20", "--precision", "b") == ["bfloat16"]
    assert complete("export", "RUN", "--format", "o") == ["onnx"]
    assert "mps" in complete("predict", "RUN", "--device", "")
    assert "folder:" in complete("data", "f")


def test_the_script_for_completion_is_one_that_bash_reads(call) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "vtbench", "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "_VTBENCH_COMPLETE=complete_bash" in answer.stdout
    assert re.search(r"^complete .* vtbench$", answer.stdout, re.MULTILINE)


def test_help_and_readme_name_every_data_set_that_the_shell_completes(call) -> None:
    offered = complete("data", "")
    helps = [" ".join(call(verb, "-h")[1].split()) for verb in ("data", "train", "ablate")]
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert {name.partition(":")[0] for name in list_datasets()} == {name.partition(":")[0] for name in offered}
    for name in list_datasets():
        assert all(name in text for text in helps), name
        assert name in readme, name
    for verb in ("evaluate", "export", "tokens"):
        assert "as --data of train takes" in " ".join(call(verb, "-h")[1].split())


TINY = ["--data", "scenes:num_train=40,num_val=20", "--recipe", "small", "--epochs", "1", "--threads", "1"]


def test_quiet_leaves_the_result_and_verbose_adds_versions_and_steps(call) -> None:
    code, quiet, errors = call("train", "resnet20:width=2", *TINY, "-q", "-o", "quiet")
    assert (code, errors) == (0, "")
    assert quiet.startswith("resnet20:width=2, seed 0\n  top-1 ")
    code, verbose, errors = call("train", "resnet20:width=2", *TINY, "-v", "-o", "verbose")
    assert (code, verbose.count("\n")) == (0, quiet.count("\n"))
    assert "epoch 1/1" in errors
    assert errors.startswith(f"vtbench {vtbench.__version__} (torch {version('torch')}")
    assert re.search(r"^vtbench: loading torch and the models: .* s$", errors, re.MULTILINE)
    assert "Traceback" in call("train", "resnt20", "-v")[2]
    code, _, errors = call("list", "--quiet", "--verbose")
    assert code == 2
    assert "vtbench: --quiet and --verbose ask for less and for more." in errors


@pytest.mark.parametrize("verb", list_verbs())
def test_every_verb_takes_json_quiet_and_verbose(verb: str) -> None:
    names = {name for option in build_command(verb).params for name in option.opts}
    assert {"--json", "-q", "--quiet", "-v", "--verbose"} <= names


def test_json_is_all_that_comes_on_standard_output(call, tmp_path: Path) -> None:
    Path("study.toml").write_text(
        'question = "Which?"\nseeds = 1\nrecipe = "small"\nepochs = 1\ndata = "scenes:num_train=40,num_val=20"\n'
        '[arms]\nnarrow = "resnet20:width=2"\n'
    )
    one_by_one = ["study.toml", "--executor", "in_process", "--jobs", "1", "--threads", "1"]
    commands = [
        ["list", "vt_*"],
        ["data", "scenes:num_train=40,num_val=20"],
        ["profile", "resnet20:width=2"],
        ["profile", "resnet20*", "-o", "zoo.jsonl"],
        ["train", "resnet20:width=2", *TINY, "-o", "run"],
        ["ablate", *one_by_one, "--plan"],
        ["ablate", *one_by_one],
        ["ablate", "--list"],
        ["report", "runs/study"],
        ["tokens", "--model", "vt_resnet20:width=8,num_tokens=4", "--index", "0", "--data", "scenes", "-o", "tokens"],
    ]
    for words in commands:
        code, out, errors = call(*words, "--json")
        assert code == 0, (words, errors)
        assert json.loads(out), words
    for words in (["list"], ["data", *commands[1][1:]], ["report", "runs/study"], ["train", *commands[4][1:]]):
        assert call(*words)[1] == call(*words, "-q")[1] != "", words
    code, _, errors = call("list", "--json", "--format", "csv")
    assert (code, errors) == (2, "vtbench: --json and --format csv ask for two outputs. Give one of them.\n")


def test_one_thing_has_one_name_in_all_verbs() -> None:
    taken = {
        name: verb
        for verb in list_verbs()
        for option in build_command(verb).params
        for name in option.opts
        if name.startswith("--")
    }
    for name, others in SPELT_OTHERWISE.items():
        assert name in taken
        assert not set(others) & taken.keys(), name


SPELT_OTHERWISE = {
    "--image-size": ("--img-size", "--size", "--resolution"),
    "--batch-size": ("--bs", "--batchsize"),
    "--precision": ("--dtype", "--amp"),
    "--jobs": ("--num-jobs", "--processes"),
    "--workers": ("--num-workers",),
    "--out": ("--output", "--folder", "--out-dir"),
    "--data": ("--dataset", "--data-dir"),
    "--against": ("--reference", "--compare-to"),
    "--learning-rate": ("--rate",),
    "--seed": ("--random-seed",),
}
"""Each option, and what a verb that is added must not call it."""


@pytest.mark.parametrize("verb", list_verbs())
def test_help_says_what_an_option_takes_in_plain_words(verb: str, call) -> None:
    text = call(verb, "-h")[1]
    assert not re.search(r"<\w|list\[|\brange>|<class", text)
    assert " PATH" in text or not any("--out" in option.opts for option in build_command(verb).params)


def test_messages_break_between_words_on_a_terminal_and_not_in_a_pipe(call, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = call("train", "resnt20", "--data", "scenes")[2]
    assert piped.count("\n") == 1
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    lines = call("train", "resnt20", "--data", "scenes")[2].splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(lines) == piped.rstrip()


def test_the_list_of_all_models_on_a_terminal_has_a_line_a_model(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    models = len(json.loads(call("list", "--json")[1]))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, text, errors = call("list")
    assert code == 0
    assert len(text.splitlines()) == models + 2
    assert "vtbench list NAME" in errors
    assert "num_tokens" in call("list", "vt_resnet18")[1]
