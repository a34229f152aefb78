"""The parts of a visual transformer in the place of a stage."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from vtbench.models.own_choices import OwnChoices
from vtbench.models.token_finding import Relations


class TokenOptions(OwnChoices):
    """What a model with visual tokens in the place of a stage lets its user choose."""

    paper: ClassVar[dict[str, str]] = {**OwnChoices.paper, "values": "linear", "carry": "off"}

    projector: Literal["on", "off", "zeroed"] = Field(
        "on",
        description="write the tokens back to the map; off: modules after the first see only tokens; zeroed, the "
        "control: what is written is multiplied by zero, at the same cost",
    )
    relations: Relations = "transformer"
    values: Literal["rectified", "linear"] = Field(
        "rectified",
        description="what is pooled to tokens: a 1x1 convolution of the map, normalised and rectified; linear: the "
        "convolution alone",
    )
    carry: Literal["on", "off"] = Field("on", description="add the tokens of the module before to those of a module")

    def explain_absence(self, option: str) -> str:
        """Why a network of these options has no part that makes the choice ``option``; empty if it has."""
        if option == "values" and self.tokenizer == "pooling":
            return "tokenizer=pooling makes no values"
        if self.projector == "off":
            if option == "filters":
                return "with projector=off only the first module reads the map"
            if option == "maps" and self.tokenizer == "clustering":
                return "with projector=off tokenizer=clustering has no filters"
        return super().explain_absence(option)

    @model_validator(mode="after")
    def _refuse_two_names_of_one_model(self) -> TokenOptions:
        if self.tokenizer == "static" and self.projector == "off":
            raise ValueError(
                "with projector=off only the first module reads the map, and it has static filters under "
                "tokenizer=dynamic, too: the two are one model. Leave tokenizer=static out"
            )
        return self
