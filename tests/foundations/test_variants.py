from typing import Literal

import pytest
from pydantic import Field, model_validator

from vtbench.errors import UserError
from vtbench.variants import ForeignOptions, ModelOptions, ModelSpec, spell_variant, split_variant


class TokenOptions(ModelOptions):
    tokenizer: Literal["dynamic", "static"] = "dynamic"
    num_tokens: int = Field(16, ge=1)

    @model_validator(mode="after")
    def refuse_one_dynamic_token(self) -> "TokenOptions":
        if self.tokenizer == "dynamic" and self.num_tokens == 1:
            raise ValueError("a dynamic tokenizer needs two tokens or more")
        return self


SPEC = ModelSpec(
    name="vt",
    build=lambda options, **sizes: None,
    options=TokenOptions(),
    image_size=(32, 32),
    num_classes=10,
    source="a test",
    family="test",
)


FOREIGN = ["timm:resnet18", "timm:vit_tiny,img_size=32", "torchvision:resnet18,a=1,b=2", "a,b/net.py:small,depth=3"]


@pytest.mark.parametrize("text", ["vt", "vt:tokenizer=static", "vt:tokenizer=static,num_tokens=8", *FOREIGN])
def test_splitting_and_spelling_are_inverse(text: str) -> None:
    assert spell_variant(*split_variant(text)) == text


def test_the_spelling_has_declared_order_and_no_defaults() -> None:
    options = SPEC.resolve_options({"num_tokens": "8", "tokenizer": "static"})
    assert SPEC.spell(options) == "vt:tokenizer=static,num_tokens=8"
    assert SPEC.spell(SPEC.resolve_options({"num_tokens": "16"})) == "vt"


@pytest.mark.parametrize("text", ["", ":a=1", "vt:", "vt:a", "vt:a=", "vt:=1", "vt:a=1,a=2"])
def test_what_is_not_a_variant_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        split_variant(text)


def test_foreign_options_have_one_spelling_each_in_alphabetical_order() -> None:
    options = ForeignOptions.model_validate({"rate": "1e-1", "depths": (2, 2, 6), "act": "gelu", "bias": "TRUE"})
    assert options.model_dump() == {"act": "gelu", "bias": "true", "depths": "2+2+6", "rate": "0.1"}
    assert options.read() == {"act": "gelu", "bias": True, "depths": (2, 2, 6), "rate": 0.1}
    with pytest.raises(ValueError, match="cannot be spelt"):
        ForeignOptions.model_validate({"norm_layer": print})


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown option 'num_token'. Did you mean 'num_tokens'"):
        SPEC.resolve_options({"num_token": 8})


def test_an_unknown_value_is_answered_with_the_allowed_ones() -> None:
    with pytest.raises(UserError, match="'tokenizer' was given 'fixed': allowed: 'dynamic' or 'static'"):
        SPEC.resolve_options({"tokenizer": "fixed"})


def test_a_refused_combination_gives_the_reason() -> None:
    with pytest.raises(UserError, match="a dynamic tokenizer needs two tokens or more"):
        SPEC.resolve_options({"num_tokens": "1"})
