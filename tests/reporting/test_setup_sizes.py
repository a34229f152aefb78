from pathlib import Path

import pytest

from vtbench.errors import UserError
from vtbench.records import save_record
from vtbench.records.setup import SetUp, SetUps
from vtbench.reporting.committed import render_block


def test_the_readme_says_what_each_set_up_takes_by_what_was_measured(tmp_path: Path) -> None:
    rows = (
        SetUp(target="install", seconds=90.0, num_packages=61, size_bytes=5_140_000_000),
        SetUp(target="setup", seconds=186.0, num_packages=190, size_bytes=7_250_000_000),
    )
    measured = SetUps(python="3.11.7", platform="Linux x86_64", torch="2.14.1", index="a mirror of PyPI", rows=rows)
    (tmp_path / "reports" / "setup").mkdir(parents=True)
    save_record(tmp_path / "reports" / "setup" / "setup.json", measured)
    text = " ".join(render_block("setup", tmp_path).split())
    assert "| `make demo`: the package | 61 | 5.1 | 1.5 |" in text
    assert "| `make test`: with all extras and the checks | 190 | 7.2 | 3.1 |" in text
    assert "Python 3.11.7, torch 2.14.1, packages from a mirror of PyPI" in text


def test_a_set_up_that_was_never_measured_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"setup\.json"):
        render_block("setup", tmp_path)
