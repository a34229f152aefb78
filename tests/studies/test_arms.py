from collections.abc import Iterator
from typing import Literal

import pytest

from vtbench.errors import UserError
from vtbench.studies.resolution import resolve_arms
from vtbench.variants import MODELS, ModelOptions, ModelSpec


class TwinOptions(ModelOptions):
    stem: Literal["imagenet", "small"] = "imagenet"
    width: int = 64


class TokenOptions(TwinOptions):
    tokenizer: Literal["static", "dynamic"] = "dynamic"
    num_tokens: int = 16


def make_spec(name: str, options: ModelOptions, twin: str | None = None) -> ModelSpec:
    return ModelSpec(name, lambda: None, options, (32, 32), 10, "test", "test", twin)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    entries = {
        spec.name: spec
        for spec in (
            make_spec("plain", TwinOptions()),
            make_spec("se_plain", TwinOptions()),
            make_spec("token", TokenOptions(), "plain"),
            make_spec("small_token", TokenOptions(stem="small"), "plain"),
        )
    }
    monkeypatch.setattr(MODELS, "_entries", entries)
    yield


def resolve(template: str, base: str | None = "token") -> str:
    return resolve_arms({"arm": template}, base)["arm"]


def test_a_base_keeps_its_options_and_the_arm_adds_its_own() -> None:
    assert resolve("{base}:num_tokens=8", "token:stem=small,width=8") == "token:stem=small,width=8,num_tokens=8"


def test_an_option_of_the_arm_wins_over_that_of_the_base() -> None:
    assert resolve("{base}:tokenizer=static", "token:tokenizer=dynamic,width=8") == "token:width=8,tokenizer=static"


def test_an_arm_at_the_default_of_an_option_has_the_base_spelling() -> None:
    assert resolve("{base}:tokenizer=dynamic", "token:width=8") == "token:width=8"


def test_the_twin_takes_over_the_options_that_both_have_and_no_others() -> None:
    assert resolve("{twin}", "token:stem=small,width=8,num_tokens=4") == "plain:stem=small,width=8"


def test_the_twin_takes_over_what_the_preset_of_the_base_differs_in() -> None:
    assert resolve("{twin}", "small_token") == "plain:stem=small"


def test_a_placeholder_may_be_a_part_of_a_name() -> None:
    assert resolve("se_{twin}:width=4", "token:stem=small,width=8") == "se_plain:stem=small,width=4"


def test_a_variant_without_placeholder_ignores_the_base() -> None:
    assert resolve("plain:width=4", "token:width=8") == "plain:width=4"
    assert resolve("plain", None) == "plain"


@pytest.mark.parametrize(
    ("template", "base", "message"),
    [
        ("{base}:tokenizr=static", "token", r"The arm 'arm' \(\{base\}:tokenizr=static\): .*Did you mean 'tokenizer'"),
        ("{base}:tokenizer=statik", "token", "'statik'"),
        ("{bse}", "token", "no placeholder {bse}. Did you mean 'base'"),
        ("{base}", None, "names no base. Give one with --base"),
        ("{twin}", "plain", "'plain' has no convolutional twin"),
        ("{base}", "tokem", "no model named 'tokem'. Did you mean 'token'"),
        ("a2_{twin}", "token", "no model named 'a2_plain'"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_name_of_the_arm(template: str, base: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve(template, base)


def test_two_arms_that_are_the_same_variant_are_refused() -> None:
    with pytest.raises(UserError, match="'whole' and 'dynamic' are the same variant, token"):
        resolve_arms({"whole": "{base}", "dynamic": "{base}:tokenizer=dynamic"}, "token")
