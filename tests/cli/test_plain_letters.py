"""An output that has few letters gets lines, dashes and bars in those, and never fails for one."""

import io
import subprocess
import sys

from rich.console import Console

from vtbench.cli.progress import draw_bar


def call(*words: str) -> bytes:
    import os

    command = [sys.executable, "-m", "vtbench", *words]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1:strict"}
    return subprocess.run(command, capture_output=True, check=True, env=environment).stdout


def test_tables_look_alike_in_latin_letters() -> None:
    lines = call("list", "resnet20").decode("latin-1").splitlines()
    assert lines[0].startswith("model     task")
    assert set(lines[1]) == {"-"}
    assert len(lines) == 3 and "shortcut" in lines[2]


def test_a_bar_tells_what_is_done_without_colours_and_without_letters_beyond_ascii() -> None:
    assert [draw_bar(part, 8).plain for part in (0, 0.5, 0.99, 1)] == ["────────", "━━━━────", "━━━━━━━─", "━━━━━━━━"]
    program = (
        "import sys; from vtbench.cli.output import outlive_readers; outlive_readers(); "
        "print('━━── loss –, 5 ± 1, 3×4 … ü')"
    )
    command = [sys.executable, "-X", "utf8=0", "-c", program]
    told = subprocess.run(command, capture_output=True, check=True, env={"PYTHONIOENCODING": "ascii"})
    assert told.stdout == b"==-- loss -, 5 +- 1, 3x4 ~ \\xfc\n"


def test_a_table_on_a_console_of_ascii_keeps_its_look() -> None:
    from vtbench.documents.table import make_table
    from vtbench.documents.terminal import lay_out

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    Console(file=stream, width=40).print(lay_out(make_table(("a", "b"), [("x", "1")], numbers=("b",))))
    stream.seek(0)
    assert [line.rstrip() for line in stream.read().splitlines()] == ["a  b", "????", "x  1"]
