"""Names that hold a colon or an equals sign are completed in a real bash, which breaks words there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vtbench.cli.bash_completion import join_words

COMMAND = """#!{python}
import sys
sys.argv[0] = "vtbench"
from vtbench.cli.main import run
run()
"""


@pytest.mark.parametrize(
    ("words", "at", "joined", "place", "typed"),
    [
        (["v", "t", "a", ":", "b"], 4, ["v", "t", "a:b"], 2, "a:"),
        (["v", "t", "a", ":"], 3, ["v", "t", "a:"], 2, "a:"),
        (["v", "t", "a", ":", ""], 4, ["v", "t", "a:", ""], 3, ""),
        (["v", "--data", "=", "folder", ":", "x", "y"], 5, ["v", "--data=folder:x", "y"], 1, "--data=folder:"),
        (["v", "t", '"a:b='], 2, ["v", "t", '"a:b='], 2, ""),
        (["v", "t", "a", ":=", "b", "c"], 5, ["v", "t", "a:=b", "c"], 3, ""),
        (["v", ""], 1, ["v", ""], 1, ""),
    ],
)
def test_words_that_bash_broke_are_joined(words: list[str], at: int, joined: list[str], place: int, typed: str) -> None:
    assert join_words(words, at) == (joined, place, typed)


def type_in_bash(folder: Path, *lines: tuple[str, str]) -> list[str]:
    """The words of each line once a tab was pressed between its two parts in an interactive bash."""
    import fcntl
    import pty
    import select
    import struct
    import termios

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(PS1="$ ", TERM="dumb", PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])

    def read_until(mark: bytes) -> bytes:
        seen, until = b"", time.monotonic() + 60
        while mark not in seen and time.monotonic() < until:
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 65536)
        assert mark in seen, seen
        return seen

    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        os.write(terminal, f"cd {folder}; source script; say() {{ printf '<%s>' \"$@\"; echo E'N'D; }}; say\n".encode())
        read_until(b"<>END")
        answers = []
        for before, after in lines:  # What is said goes before what was completed, from the start of the line.
            os.write(terminal, f"{before}\t{after}\x01say \n".encode())
            answers.append(read_until(b">END").rpartition(b"<vtbench>")[2].removesuffix(b"END\r\n").decode())
        return [answer.partition("END")[0] for answer in answers]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_tab_completes_behind_a_colon_and_an_equals_sign_and_leaves_open_ends_open(tmp_path: Path) -> None:
    command = tmp_path / "vtbench"
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    script = subprocess.run(
        [command, "--show-completion", "bash"],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (tmp_path / "script").write_text(script)
    assert type_in_bash(
        tmp_path,
        ("vtbench train vt_resnet20:tokenizer=sta", "Z"),
        ("vtbench train vt_resnet20:tokenizer", "Z"),
        ("vtbench train vt_resnet20:num_tokens=8,tokenizer=sta", "Z"),
        ('vtbench train "vt_resnet20:tokenizer=sta', "Z"),
        ("vtbench train resnet20 --data=fold", "Z"),
        ("vtbench train resnet20 --data fold", "Z"),
        ("vtbench train resnet20 --recipe advan", "Z"),
    ) == [
        "<train><vt_resnet20:tokenizer=static><Z>",
        "<train><vt_resnet20:tokenizer=Z>",
        "<train><vt_resnet20:num_tokens=8,tokenizer=static><Z>",
        "<train><vt_resnet20:tokenizer=static><Z>",
        "<train><resnet20><--data=folder:Z>",
        "<train><resnet20><--data><folder:Z>",
        "<train><resnet20><--recipe><advanced><Z>",
    ]
