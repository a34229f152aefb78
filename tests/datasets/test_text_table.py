from __future__ import annotations

import os

import pytest

from vtbench.datasets.text_table import TextTable

TEXTS = ["a/1.png", "", "caf\u00e9", os.fsdecode(b"no text \xff")]


def test_texts_come_back_as_they_were_given_alone_and_joined() -> None:
    table = TextTable.build(TEXTS)
    assert [*table] == TEXTS
    assert [*TextTable.join([table, TextTable.build([]), table])] == [*TEXTS, *TEXTS]
    with pytest.raises(IndexError, match="no text 4 of 4"):
        table[4]
