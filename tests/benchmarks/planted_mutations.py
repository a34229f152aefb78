"""How many wrong lines the fast tests notice: ``python -m tests.benchmarks.planted_mutations --number 40 --seed 0``.

Draws places from the source, at most one a module, rooms in turn; breaks each in a copy of the checkout, one at a time,
as a slip of the pen would (a comparison, an operator, a constant, a ``not``, a call left out), and runs the fast tests
of that room, then, if they notice nothing, all of them. It prints one line a mutation and the survivors at the end;
whether a survivor means the same as the line it replaces is for a reader to judge. It never fails.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COPIED = ("vtbench", "tests", "ablations", "reports", "pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile")
SECONDS = 900
"""A run of tests that takes longer hangs, which is noticed, too."""

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
}
TOGETHER = {
    "cli": ("cli", "profiling", "reporting"),
    "layers": ("layers", "tokenizers", "relations", "attention", "models", "golden"),
    "backbones": ("backbones", "models", "golden"),
    "published": ("published", "audit", "reporting"),
    "records": ("foundations", "reporting", "profiling", "training"),
    "documents": ("documents", "reporting", "cli", "profiling"),
    "tasks": ("tasks", "training"),
}
"""Rooms whose tests stand in other folders than their own as well."""


@dataclass(frozen=True)
class Mutation:
    """One wrong line: ``text`` instead of the module's own, described by line, before and after."""

    path: Path
    line: int
    before: str
    after: str
    text: str

    @property
    def room(self) -> str:
        """The folder below ``vtbench`` in which the module lies, or ``foundations``."""
        parts = self.path.relative_to("vtbench").parts
        return parts[0] if len(parts) > 1 else "foundations"


def list_mutations(path: Path) -> Iterator[Mutation]:
    """Every mutation of one module; types, docstrings and messages are left alone."""
    source = (REPOSITORY / path).read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        changed = _change(node)
        segment = ast.get_source_segment(source, node) if changed is not None else None
        if changed is None or segment is None or "\n" in segment:
            continue
        lines = source.splitlines(keepends=True)
        row, start, end = node.lineno - 1, node.col_offset, node.end_col_offset  # type: ignore[attr-defined]
        line = lines[row].encode()
        lines[row] = (line[:start] + ast.unparse(changed).encode() + line[end:]).decode()
        text = "".join(lines)
        try:
            ast.parse(text)
        except SyntaxError:  # Inside an f-string, say.
            continue
        yield Mutation(path, node.lineno, segment, ast.unparse(changed), text)  # type: ignore[attr-defined]


def _change(node: ast.AST) -> ast.expr | ast.stmt | None:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARISONS:
        return ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS and not _is_text(node):
        return ast.BinOp(ast.copy_location(node.left, node), OPERATORS[type(node.op)](), node.right)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    if isinstance(node, ast.BoolOp):
        return ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and "super()" not in ast.unparse(node):
        return ast.Pass()
    return None


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(part, ast.JoinedStr | ast.Constant) and not _is_number(part) for part in ast.walk(node))


def _is_number(part: ast.AST) -> bool:
    return isinstance(part, ast.Constant) and isinstance(part.value, int | float)


def draw_mutations(number: int, seed: int) -> list[Mutation]:
    """``number`` mutations, rooms in turn, at most one a module until every module had its turn."""
    draw = random.Random(seed)
    rooms: dict[str, list[Mutation]] = {}
    for path in sorted((REPOSITORY / "vtbench").rglob("*.py")):
        found = list(list_mutations(path.relative_to(REPOSITORY)))
        if found:
            chosen = draw.choice(found)
            rooms.setdefault(chosen.room, []).append(chosen)
    for mutations in rooms.values():
        draw.shuffle(mutations)
    return [mutation for mutation in chain(*zip_longest(*rooms.values())) if mutation is not None][:number]


def is_noticed(mutation: Mutation, checkout: Path, extra: list[str]) -> bool:
    """Whether a test of the room, or else of the whole project, fails with the mutation in place."""
    target = checkout / mutation.path
    whole = target.read_text("utf-8")
    target.write_text(mutation.text, "utf-8")
    try:
        wanted = TOGETHER.get(mutation.room, (mutation.room,))
        room = [f"tests/{name}" for name in wanted if (checkout / "tests" / name).is_dir()]
        return any(_fails(checkout, tests, extra) for tests in ([room] if room else []) + [["tests"]])
    finally:
        target.write_text(whole, "utf-8")


def _fails(checkout: Path, tests: list[str], extra: list[str]) -> bool:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *extra, *tests]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return (
            subprocess.run(command, cwd=checkout, env=environment, capture_output=True, timeout=SECONDS).returncode != 0
        )
    except subprocess.TimeoutExpired:
        return True


def main() -> None:
    """Plant, test, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--list", action="store_true", help="print the mutations and test nothing")
    parser.add_argument("pytest_args", nargs="*", help="handed to pytest, after --; for example -n 2")
    options = parser.parse_args()
    mutations = draw_mutations(options.number, options.seed)
    survivors = []
    with tempfile.TemporaryDirectory() as temporary:
        checkout = Path(temporary)
        for name in COPIED:
            source = REPOSITORY / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, checkout / name)
        for number, mutation in enumerate(mutations, 1):
            noticed = None if options.list else is_noticed(mutation, checkout, options.pytest_args)
            word = {None: "", True: "noticed  ", False: "SURVIVED "}[noticed]
            print(
                f"{number:3} {word}{mutation.path}:{mutation.line}: {mutation.before} -> {mutation.after}", flush=True
            )
            survivors += [mutation] if noticed is False else []
    if not options.list:
        print(f"{len(mutations) - len(survivors)} of {len(mutations)} noticed by the fast tests")


if __name__ == "__main__":
    main()
