"""A typo is answered with what helps: the nearest word, all words when they are few, or the first of many."""

from vtbench.errors import did_you_mean, format_names

FEW = [f"word-{number}" for number in range(20)]


def test_twenty_words_are_all_listed_and_of_more_the_first() -> None:
    assert did_you_mean("?", FEW) == f"Allowed: {', '.join(FEW)}."
    assert did_you_mean("?", [*FEW, "another"]) == f"There are 21; the first are {', '.join(FEW[:8])}."


def test_the_nearest_words_come_before_any_list() -> None:
    assert did_you_mean("resnet33", ["resnet34", "vit"]) == "Did you mean 'resnet34'?"
    assert did_you_mean("?", []) == "Allowed: none."


def test_what_differs_in_capitals_and_signs_alone_or_is_an_abbreviation_is_meant() -> None:
    models = ["resnet18", "vt_resnet18", "vit_b16"]
    for written, meant in [("ResNet-18", "resnet18"), ("VT.ResNet18", "vt_resnet18"), ("vit_b_16", "vit_b16")]:
        assert did_you_mean(written, models) == f"Did you mean {meant!r}?"
    assert did_you_mean("lr", ["learning_rate", "length"]) == "Did you mean 'learning_rate'?"


def test_names_in_a_list_are_quoted_where_they_would_run_into_each_other() -> None:
    assert format_names(["cat", "sports car", "a,b", ""]) == "cat, 'sports car', 'a,b', ''"
    assert "Allowed: cat, 'sports car'." in did_you_mean("?", ["cat", "sports car"])


def test_of_more_than_a_dozen_names_the_first_are_named_unless_all_are_wanted() -> None:
    letters = "abcdefghijklmn"
    assert format_names(letters) == "a, b, c, d, e, f, g, h, i, j, k, l and 2 more"
    assert format_names(letters, most=None) == ", ".join(letters)
