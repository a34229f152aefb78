"""Words that make no call are answered in those words, in every verb: what came, what is allowed, how to mend it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from vtbench.cli.main import build_command, list_verbs, run


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The one line with which a call is refused."""
    monkeypatch.chdir(tmp_path)

    def refuse(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["vtbench", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run()
        out, errors = capsys.readouterr()
        assert (ended.value.code, out) == (2, "")
        assert errors.startswith("vtbench: ") and errors.count("\n") == 1, errors
        return errors.removeprefix("vtbench: ").rstrip()

    return refuse


def list_typed(verb: str) -> Iterator[tuple[Any, str]]:
    """The options of ``verb`` that take numbers or some words, and what a value that they do not take is."""
    for option in build_command(verb).params:
        annotation = option.type_descriptor.annotation
        kinds = (annotation, *get_args(annotation))
        if option.metavar in ("N", "X") or any(get_origin(kind) is Literal for kind in kinds):
            yield option, max(option.opts, key=len)


@pytest.mark.parametrize("verb", list_verbs())
def test_every_option_of_numbers_or_words_says_under_its_own_name_what_it_takes(verb: str, refuse) -> None:
    needed = [parameter for parameter in build_command(verb).params if parameter.required]
    for option, name in list_typed(verb):
        for value in ("some", "nan", "1e400") if option.metavar == "X" else ("some", "1.5", "9" * 30):
            answer = refuse(verb, *("x" for _ in needed), name, value)
            assert answer.startswith(f"{name} was given '{value}': allowed: "), answer
            if option.metavar in ("N", "X"):
                assert "allowed: a number" in answer or "allowed: a whole number" in answer, answer


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("trian resnet20", "There is no verb 'trian'. Did you mean 'train'?"),
        ("completion bash", "There is no verb 'completion'. Write vtbench --install-completion."),
        (
            "--json list",
            "--json is no option of vtbench itself. Options of a verb stand behind it: vtbench VERB --json.",
        ),
        ("predict", "predict needs RUN: folder of a finished run. See vtbench predict -h."),
        ("train resnet20 -lr 0.1", "train has no option -lr. Did you mean --lr? See vtbench train -h."),
        ("train resnet20 --num_workers 2", "Did you mean --workers?"),
        ("train resnet20 --img-size 64", "Did you mean --image-size?"),
        ("train resnet20 --seeds 3", "Did you mean --seed?"),
        ("train resnet20 --epochs 1 --epoch 3", "train has no option --epoch. Did you mean --epochs?"),
        ("train resnet20 --learning-rate=1e-3,", "--learning-rate was given '1e-3,': allowed: a number above 0."),
        ("ablate components --until decidd", "--until was given 'decidd': allowed: 'decided'."),
        ("train ResNet-18", "There is no model named 'ResNet-18'. Did you mean 'resnet18'?"),
        ("train vt_resnet20,width=8", "'vt_resnet20,width=8' is not a model. Did you mean 'vt_resnet20:width=8'?"),
        (
            "train timm/vit_tiny,depth=3",
            "'timm/vit_tiny,depth=3' is not a model. Did you mean 'timm:vit_tiny,depth=3'?",
        ),
        ("profile tim:resnet18", "'tim:resnet18' is not a model. Did you mean 'timm:resnet18'?"),
        ("train tv:resnet18,progress=no", "Did you mean 'torchvision:resnet18,progress=no'?"),
        ("profile torchvision.resnet18", "Did you mean 'torchvision:resnet18'?"),
        ("train resnet20 --data .", "'.' is a file or folder. Say what kind of data it holds: folder:. or parquet:.."),
        ("train resnet20 --data CIFAR-10", "There is no data set named 'CIFAR-10'. Did you mean 'cifar10'?"),
        ("train resnet20 --set lr=0.1", "Did you mean 'recipe.optimizer.learning_rate'?"),
        (
            "train resnet20 --device gpu",
            "There is no device named 'gpu'. Did you mean 'cuda'? Allowed: auto, cpu, cuda,",
        ),
        ("profile resnet20 --measure --device gpus", "There is no device named 'gpus'. Did you mean "),
        ("evaluate run --device CUDA", "Did you mean 'cuda'?"),
        ("ablate --device tpu", "There is no device named 'tpu'. Did you mean 'cpu'?"),
        ("train resnet20 --lr", "--lr needs a value."),
        ("train resnet20 --compile=yes", "--compile takes no value: write --compile, or leave it out."),
        ("train resnet20 vt_resnet20", "train takes MODEL and options, and 'vt_resnet20' is left over."),
        ("train resnet20 --freeze a.* b.*", "--freeze takes one value at a time, and 'b.*' is left over. Repeat it:"),
        ("ablate --arms static", "ablate has no option --arms. Did you mean --arm?"),
        ("ablate --seeds 0", "--seeds was given '0': allowed: a whole number from 1 to 10,000."),
        ("predict run --image", "--image needs one value or more."),
        ("predict run --format jsn", "--format was given 'jsn': allowed: 'table', 'markdown', 'csv' or 'json'."),
        ("list -q -v", "--quiet and --verbose ask for less and for more. Give one of them."),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(words: str, answer: str, refuse) -> None:
    assert answer in refuse(*words.split(" "))


@pytest.mark.parametrize("verb", list_verbs())
def test_no_file_is_called_standard_output_and_no_folder_as_a_file(verb: str, refuse) -> None:
    command = build_command(verb)
    if all(option.name != "out" for option in command.params):
        return
    needed = ["resnet20"] if verb == "profile" else ["x" for one in command.params if one.required]
    assert "no files are written to standard output" in refuse(verb, *needed, "--out", "-")
    if verb not in ("profile", "export"):
        assert "what is written is a folder of files. Name a folder, such as numbers;" in refuse(
            verb, *needed, "--out", "numbers.csv"
        )
        Path("file").touch()
        assert "file is no folder" in refuse(verb, *needed, "--out", "file/inside")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("profile resnet20 --device cpu", "--device has no effect without --measure. Add that, or leave --device out."),
        ("profile resnet20 --threads 2", "--threads has no effect without --measure."),
        ("profile resnet20 --depth 3", "--depth has no effect without --by."),
        ("report runs -b 4", "--batch-size has no effect without --measure."),
        ("report runs --archive a --all-figures", "--all-figures has no effect beside --archive."),
        ("data scenes --draws 2", "--draws has no effect without --out."),
        ("watch --once --every 3", "--every has no effect beside --once. Leave out one of the two."),
        ("ablate --no-probe", "--no-probe has no effect without --plan."),
        ("ablate --shard-optimizer", "--shard-optimizer has no effect without --devices."),
        ("train resnet20 --shard-optimizer", "--shard-optimizer has no effect without --devices."),
        ("train resnet20 --format json", "train has no option --format. Did you mean --json?"),
        ("ablate --plan --measure", "--measure has no effect beside --plan."),
        ("ablate --verify-resume --track mlflow", "--track has no effect beside --verify-resume."),
        ("ablate --list --seeds 2", "--seeds has no effect beside --list."),
        ("tokens run --image a.png --data scenes", "--data has no effect without --index."),
        ("tokens run --index 0 --seed 1", "--seed has no effect without --model."),
        ("tokens run --image a.png --foreground 1", "--foreground has no effect without --mask or --index."),
        ("evaluate run --limit-val 100", "--limit-val has no effect without --data."),
        ("list --options --json", "--options explains them below the table."),
    ],
)
def test_an_option_that_changes_nothing_in_this_call_is_refused(words: str, answer: str, refuse) -> None:
    assert answer in refuse(*words.split(" "))


@pytest.mark.parametrize(("verb", "words"), [("train", ["resnet20"]), ("ablate", [])])
def test_torchrun_tells_the_number_of_devices_as_the_option_does(
    verb: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*words, "--shard-optimizer"]
    build_command(verb).make_context(verb, [*words, "--devices", "1"])
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    build_command(verb).make_context(verb, list(words))


def test_the_options_that_need_or_exclude_others_are_options_of_their_verb() -> None:
    for verb in list_verbs():
        command = build_command(verb)
        known = {max(option.opts, key=len).lstrip("-").lower() for option in command.params}
        for table in (command.needs, command.excludes):
            named = {*table, *(other for others in table.values() for other in others if other != "*")}
            assert named <= known, verb
