"""A typo is answered with what helps: the nearest word, all words when they are few, or the first of many."""

from vtbench.errors import did_you_mean

FEW = [f"word-{number}" for number in range(20)]


def test_twenty_words_are_all_listed_and_of_more_the_first() -> None:
    assert did_you_mean("?", FEW) == f"Allowed: {', '.join(FEW)}."
    assert did_you_mean("?", [*FEW, "another"]) == f"There are 21; the first are {', '.join(FEW[:8])}."


def test_the_nearest_words_come_before_any_list() -> None:
    assert did_you_mean("resnet33", ["resnet34", "vit"]) == "Did you mean 'resnet34'?"
    assert did_you_mean("?", []) == "Allowed: none."
