"""Every format writes the same table, nothing in a cell can break it, and tables are written nowhere else."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

from vtbench.documents.table import (
    Table,
    escape_controls,
    escape_latex,
    escape_markdown,
    is_latex_table,
    list_items,
    make_table,
    to_csv,
    to_latex,
    to_markdown,
)
from vtbench.documents.terminal import lay_out, lay_out_live, print_text
from vtbench.documents.wrapping import WrappedText, shorten

PACKAGE = Path(__file__).parents[2] / "vtbench"


def print_on(width: int, renderable: object) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(renderable)
    return stream.getvalue().splitlines()


def test_markdown_cells_cannot_break_the_table() -> None:
    table = Table(("a|b", "n"), (("x|y", "1"), ("two\nlines", "2")), (False, True))
    assert to_markdown(table) == (
        "| a\\|b      |   n |\n| --------- | --: |\n| x\\|y      |   1 |\n| two lines |   2 |\n"
    )
    assert to_markdown(table, padded=False).splitlines()[:3] == ["| a\\|b | n |", "| --- | ---: |", "| x\\|y | 1 |"]


def test_a_name_in_markdown_is_neither_a_tag_nor_a_link() -> None:
    assert escape_markdown("<b>x</b> [a](b)\n![c](d) 3 < 4") == "&lt;b>x&lt;/b> [a]\\(b) ![c]\\(d) 3 < 4"
    assert "<i>" not in to_markdown(make_table(("<i>",), [("<i>",)])) + list_items(["<i>"])


@pytest.mark.parametrize("name", ["=1+1", "+a", "-a", "@a"])
def test_a_name_in_csv_is_no_formula(name: str) -> None:
    assert to_csv([{"name": name}]).splitlines()[1] == f"'{name}"
    assert to_csv([{name: 1, "b\x1b": 2}]).splitlines() == [f"'{name},b\\x1b", "1,2"]


def test_a_number_in_csv_is_left_as_it_is() -> None:
    assert to_csv([{"n": -0.5, "text": "-0.5", "share": "+3.5%"}]).splitlines()[1] == "-0.5,-0.5,+3.5%"


def test_latex_escapes_what_it_would_read_as_commands() -> None:
    text = to_latex(Table(("top-1 (%)", "n"), (("vt_resnet20:a=b&c", "-1 ± 2"), ("-1", "-x")), (False, True)))
    assert "top-1 (\\%) & n \\\\" in text
    assert "vt\\_resnet20:a=b\\&c & $-$1 $\\pm$ 2 \\\\\n-1 & -x \\\\" in text
    assert "\\begin{tabular}{lr}" in text


def test_the_end_of_a_row_of_latex_takes_nothing_of_the_next_for_its_own() -> None:
    text = to_latex(Table(("class",), (("[void]",), ("*other",), ("a*",)), (False,)))
    assert text.splitlines()[4:7] == ["{}[void] \\\\", "{}*other \\\\", "a* \\\\"]
    assert is_latex_table(f"% a note\n\n{text}") and not is_latex_table("% mine\nno table\n")


def test_a_comment_in_latex_cannot_end_before_its_end() -> None:
    assert escape_latex("first\nsecond {}") == "first second \\{\\}"


def test_csv_quotes_commas_and_leaves_none_empty() -> None:
    assert to_csv([{"a": "x,y", "b": None}, {"a": 1, "c": 2}]) == 'a,b,c\n"x,y",,\n1,,2\n'
    assert to_csv([]) == ""


def test_a_name_cannot_steer_the_terminal() -> None:
    hostile = "red\x1b[31m\x07"
    assert escape_controls(hostile + "\nend") == "red\\x1b[31m\\x07\nend"
    assert escape_controls("r\udcff") == "r\\udcff"
    lines = print_on(80, lay_out(make_table(("name", hostile), [(hostile, "1")])))
    lines += print_on(80, lay_out_live(("name", hostile), [(hostile, "1")]))
    stream = io.StringIO()
    print_text(hostile, Console(file=stream, width=80))
    assert not any("\x1b" in line or "\x07" in line for line in (*lines, stream.getvalue()))


def test_words_that_look_like_markup_are_printed_as_they_are() -> None:
    assert "[bold]x" in print_on(80, lay_out(make_table(("a",), [("[bold]x",)])))


def test_in_a_narrow_terminal_cells_wrap_and_nothing_is_cut() -> None:
    table = make_table(("model", "MACs"), [("a-very-long-spelling-of-a-variant", "1,234.56 ± 0.01")], numbers=("MACs",))
    lines = print_on(24, lay_out(table))[2:]
    assert max(map(len, lines)) <= 24
    assert "".join(line[:12] for line in lines).replace(" ", "") == "a-very-long-spelling-of-a-variant"
    assert "".join(line[12:] for line in lines).replace(" ", "") == "1,234.56±0.01"


def test_no_word_is_broken_in_a_column_while_another_has_words_to_wrap() -> None:
    header = ("arm", "params (M)", "top-1 (%)", "n", "against convolutions (points)", "decided")
    table = make_table(header, [("convolutions", "0.068", "10.00 (n = 6)", "6", "-1.00 ± 3.69", "open (6 seeds)")])
    for width in range(53, 90):  # As many as the longest piece of each column and the gaps take.
        lines = print_on(width, lay_out(table))
        assert max(map(len, lines)) <= width
        assert sum("convolutions" in line for line in lines) == 2, width
    assert max(map(len, print_on(14, lay_out(table)))) <= 14


def test_columns_that_do_not_fit_follow_below_with_the_names_again() -> None:
    seeds = [f"seed {number}" for number in range(20)]
    table = make_table(("top-1 (%)", *seeds), [("width=1", *["60.00"] * 20), ("width=2", *["failed"] * 20)])
    for width in (40, 80, 120):
        lines = print_on(width, lay_out(table))
        assert max(map(len, lines)) <= width
        assert [" ".join(lines).count(seed + " ") for seed in seeds[2:]] == [1] * 18
        for cell, name in (("60.00", "width=1"), ("failed", "width=2")):
            rows = [line for line in lines if cell in line]
            assert len(rows) > 1 and all(line.startswith(name) for line in rows)
            assert sum(line.count(cell) for line in rows) == 20


@pytest.mark.parametrize("number", ["40.01", "-0.25", "1,234"])
def test_no_number_is_broken_where_its_longest_word_has_room(number: str) -> None:
    table = make_table(("top-1 (%)", *"abcdefghij"), [("convolution", *[number] * 10)], numbers="abcdefghij")
    for width in range(30, 100):
        lines = print_on(width, lay_out(table))
        assert max(map(len, lines)) <= width
        assert sum(line.split().count(number) for line in lines) == 10, width


def test_a_table_of_one_column_is_shown_where_it_has_no_room() -> None:
    assert "".join(print_on(5, lay_out(make_table(("n",), [("abcdefghi",)])))).replace(" ", "").endswith("abcdefghi")


def test_a_column_of_words_can_be_kept_whole() -> None:
    table = make_table(("name", "text"), [("x" * 14, "some words that wrap at spaces")])
    assert any("x" * 14 in line for line in print_on(24, lay_out(table, whole=("name",))))


def test_a_table_can_leave_columns_out() -> None:
    table = make_table(("a", "n", "b"), [("1", "2", "3")], numbers=("n",), title="t").without("a")
    assert table == Table(("n", "b"), (("2", "3"),), (True, False), "t")


def find_own_writers(source: str) -> list[str]:
    """What in a module writes a table or the bytes of a figure by itself."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case (
                ast.ImportFrom(module="rich.table" | "rich.columns" | "tabulate")
                | ast.ImportFrom(module="rich", names=[ast.alias(name="table" | "box"), *_])
            ):
                found.append("a table of rich's")
            case ast.Attribute(attr="writer" | "DictWriter" | "savefig" | "to_csv" | "to_latex" | "to_markdown"):
                found.append(node.attr)
            case ast.Constant(value=str(text)) if "| ---" in text or "begin{tabular}" in text or "' | '" in text:
                found.append("a table in a text")
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=" | "), attr="join")):
                found.append("a row of Markdown")
    return found


@pytest.mark.parametrize("room", sorted({path.name for path in PACKAGE.iterdir()} - {"documents", "__pycache__"}))
def test_no_other_room_writes_tables_or_figures_of_its_own(room: str) -> None:
    modules = [PACKAGE / room] if room.endswith(".py") else sorted((PACKAGE / room).rglob("*.py"))
    own = {str(path.relative_to(PACKAGE)): found for path in modules if (found := find_own_writers(path.read_text()))}
    assert own == {}, "build a Table and hand it to vtbench.documents"


@pytest.mark.parametrize(
    "source",
    [
        "from rich.table import Table",
        "from rich import box",
        "import csv; csv.writer(stream)",
        "print('| --- | ---: |')",
        "row = f\"| {' | '.join(cells)} |\"",
        "figure.savefig('x.png')",
    ],
)
def test_a_planted_writer_is_found(source: str) -> None:
    assert find_own_writers(source)


def test_only_the_first_column_of_a_live_table_is_cut() -> None:
    row = ("a-run-with-a-very-long-name-of-many-words", "3/10", "512")
    lines = [line for line in print_on(40, lay_out_live(("run", "epoch", "images/s"), [row])) if line.strip()]
    assert lines[0].split() == ["run", "epoch", "images/s"]
    assert lines[1].split()[1:] == ["3/10", "512"]
    head, tail = lines[1].split()[0].split("…")
    assert row[0].startswith(head)
    assert row[0].endswith(tail)
    assert abs(len(head) - len(tail)) <= 1
    assert len(lines) == 2


def test_a_word_that_is_too_long_is_broken_after_a_comma_or_at_another_natural_place() -> None:
    spelling = "vt_resnet20:tokenizer=static,position=on,num_tokens=8"
    assert print_on(30, WrappedText(spelling)) == ["vt_resnet20:tokenizer=static,", "position=on,num_tokens=8"]
    cell = make_table(("arm", "n"), [(f"of {spelling}", "3")], numbers=("n",))
    lines = [line[:17].strip() for line in print_on(20, lay_out(cell))[2:]]
    assert lines == ["of vt_resnet20:", "tokenizer=static,", "position=on,", "num_tokens=8"]
    assert [line.strip() for line in print_on(10, WrappedText("x" * 12 + " 日本語日本語"))] == [
        "x" * 10,
        "xx",
        "日本語日本",
        "語",
    ]


def test_the_middle_of_a_name_is_left_out_by_columns_not_letters() -> None:
    assert [shorten("seed-0-of-seed-1", most) for most in (16, 9, 2, 1, 0)] == [
        "seed-0-of-seed-1",
        "seed…ed-1",
        "s…",
        "…",
        "…",
    ]
    assert shorten("日本語日本語", 7) == "日…語"
