"""Cells of the paper's tables are named in its words: what is spelt as an option is one."""

import re

from vtbench.catalog import load_catalog
from vtbench.published.claims import load_claims


def test_no_cell_of_a_claim_looks_like_an_option_that_no_model_has() -> None:
    known = {
        f"{option.name}={value}"
        for entry in load_catalog()
        for option in entry.options
        for value in option.allowed or ()
    }
    spelt = {word for claim in load_claims() for word in re.findall(r"\w+=\w+", claim.cell)}
    assert spelt <= known
    assert any(claim.cell == "VT-R18, filter tokenizers" for claim in load_claims())
