import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PRINT_WHETHER_TORCH_IS_LOADED = """
import sys
from vtbench.cli.main import app
app({arguments!r}, standalone_mode=False)
print("torch" in sys.modules)
"""

PRINT_LETTERS = r"""
import sys
from vtbench.cli.output import outlive_readers
outlive_readers()
for stream in (sys.stdout, sys.stderr):
    print("\xb1 \u2013 \udcff", file=stream)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["train", "--help"], ["ablate", "--help"], ["report", "--help"]]
)
def test_help_and_list_do_not_load_torch(arguments: list[str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PRINT_WHETHER_TORCH_IS_LOADED.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines()[-1] == "False"


def test_help_is_printed_before_any_garbage_is_collected() -> None:
    code = """
import gc, sys
from vtbench.__main__ import main
rounds = []
gc.callbacks.append(lambda phase, _: rounds.append(phase))
sys.argv = ["vtbench", "--help"]
try:
    main()
except SystemExit:
    print(len(rounds), file=sys.stderr)
"""
    command = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in command.stdout
    assert command.stderr == "0\n"


def test_a_mistake_is_one_message_without_traceback_and_exit_code_2() -> None:
    answer = subprocess.run([sys.executable, "-m", "vtbench", "profile", "vt_resnet43"], capture_output=True, text=True)
    assert answer.returncode == 2
    assert "vt_resnet34" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_command_whose_reader_goes_away_does_its_work_and_says_so_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vtbench", "report", "-q", "--published", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        told = running.stderr.read()
    assert running.returncode == 0
    assert told == "vtbench: the reader of this output has gone; the work goes on without it.\n"
    assert (tmp_path / "report.md").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize(
    ("to", "code", "says"),
    [(">/dev/full", 1, "vtbench: The disk is full"), (">&-", 0, ""), ("2>/dev/full >/dev/full", 1, "")],
)
def test_output_that_finds_no_place_ends_in_a_message_and_a_stated_code(to: str, code: int, says: str) -> None:
    command = f"exec {sys.executable} -m vtbench --version {to}"
    answer = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert answer.returncode == code
    assert answer.stderr.startswith(says)
    assert answer.stderr.count("\n") == bool(says)


@pytest.mark.parametrize(
    ("encoding", "spelt"),
    [
        ("ascii", rb"+- - \udcff"),
        ("latin-1", b"\xb1 - \\udcff"),
        ("utf-8:surrogateescape", "\xb1 \u2013 \\udcff".encode()),
    ],
)
def test_letters_that_the_output_lacks_are_spelt_out(encoding: str, spelt: bytes) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    answer = subprocess.run([sys.executable, "-c", PRINT_LETTERS], capture_output=True, env=environment, check=True)
    assert (answer.stdout.strip(), answer.stderr.strip()) == (spelt, spelt)


def test_letters_that_a_terminal_lacks_are_spelt_out() -> None:
    ours, theirs = pytest.importorskip("pty").openpty()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    subprocess.run([sys.executable, "-c", PRINT_LETTERS], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    assert os.read(ours, 100).strip() == rb"+- - \udcff"
    os.close(ours)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.5])
def test_an_interrupt_in_the_first_second_is_no_traceback(seconds: float) -> None:
    program = (
        "import os, signal, sys, threading\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # Jobs in the background are told to ignore it.\n"
        "from vtbench.__main__ import main\n"
        f"threading.Timer({seconds}, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "sys.argv = ['vtbench', 'audit']\n"
        "main()\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in answer.stderr


def test_a_full_disk_is_one_message_whatever_the_command(tmp_path: Path) -> None:
    program = (
        "import errno, vtbench.reporting.pages.published as page, sys\n"
        "def fill(*_, **__): raise OSError(errno.ENOSPC, 'No space left on device', 'somewhere')\n"
        "page.publish_text = fill\n"
        f"sys.argv = ['vtbench', 'report', '--published', '--out', {str(tmp_path)!r}]\n"
        "from vtbench.cli.main import run\n"
        "run()\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr == (
        "vtbench: The disk is full at somewhere, or has no room for more files. "
        "Make room, and give the same command again.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["train", "resnet20", "--data", "nowhere", "--out", ""], ["report", " "], ["train", "--data="]]
)
def test_an_empty_argument_is_not_the_current_folder(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vtbench", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr.startswith("vtbench: An argument is empty")
    assert list(tmp_path.iterdir()) == []


def test_an_argument_that_is_no_text_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vtbench", "train", "resnet20", "--data", "nowhere", "--out", b"r\xff"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert r"The argument 'r\udcff' is no text in utf-8" in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_size_in_three_words_is_answered_with_how_to_write_it() -> None:
    command = [sys.executable, "-m", "vtbench", "profile", "resnet20", "--input-size", "3", "224", "224"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "--image-size takes one value, such as 224 or 320x480" in answer.stderr
