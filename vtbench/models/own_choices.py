"""Our own choices in a visual transformer, each an option: none of them is in the paper, and none costs a MAC.

Wu et al. 2020 (arXiv 2006.03677) print equations and costs. What they leave open is chosen here so that tokens learn as
fast as the convolutions they replace; the study ``deviations`` shows what each choice buys.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from vtbench.layers.residual_branch import BRANCH_SCALE
from vtbench.models.token_finding import TokenFindingOptions
from vtbench.tokenizers.position import POSITION_GRID, AttentionPosition
from vtbench.tokenizers.tokenizer import FILTER_GAIN


class OwnChoices(TokenFindingOptions):
    """What every model with visual tokens does otherwise than the paper's equations, at the default of each option.

    ``form=paper`` takes every choice back. A choice that a network does not make, because it has no part that could,
    is refused, so that equal variants have equal spellings.
    """

    paper: ClassVar[dict[str, str]] = {"filters": "whole", "maps": "peaked", "branches": "full", "encoding": "plain"}
    """Option -> its value in the paper's form. A subclass with more choices has more of them."""

    form: Literal["ours", "paper"] = Field(
        "ours", description="paper: the equations alone, all of our own choices below switched off, at the same cost"
    )
    filters: Literal["apart", "whole"] = Field(
        "apart",
        description="recurrent filters are made of what sets a token apart from the others, normalised; whole: of the "
        "tokens as they are",
    )
    maps: Literal["uniform", "peaked"] = Field(
        "uniform", description="attention over the map starts nearly uniform; peaked: filters start ten times as large"
    )
    branches: Literal["tenth", "full"] = Field(
        "tenth", description="residual branches of relations and projectors start at a tenth; full: at full strength"
    )
    encoding: Literal["normalised", "plain"] = Field(
        "normalised",
        description="of positions: attention as its difference from uniform, a start at no change, tokens normalised; "
        "plain: attention as it is, weights drawn, nothing normalised",
    )

    @classmethod
    def list_implied(cls) -> dict[str, dict[str, str]]:
        """The paper's form, and what it takes back."""
        return {"form=paper": cls.paper}

    def find_choice(self, option: str) -> str:
        """What stands for ``option`` in the network: its own value, or that of the paper's form."""
        return self.paper[option] if self.form == "paper" else str(getattr(self, option))

    @property
    def filter_gain(self) -> float:
        """Starting gain of the logits of attention over the map."""
        return FILTER_GAIN if self.find_choice("maps") == "uniform" else 1.0

    @property
    def branch_scale(self) -> float:
        """Where the weights that end a residual branch start."""
        return BRANCH_SCALE if self.find_choice("branches") == "tenth" else 1.0

    def make_position(self, token_dim: int) -> AttentionPosition | None:
        """The position encoding of tokens of so many dimensions; None without one."""
        if self.position == "off":
            return None
        plain = self.find_choice("encoding") == "plain"
        return AttentionPosition(token_dim, token_dim // 8, POSITION_GRID, plain=plain)

    def explain_absence(self, option: str) -> str:
        """Why a network of these options has no part that makes the choice ``option``; empty if it has."""
        if option == "encoding" and self.position == "off":
            return "position=off encodes no positions"
        if option == "filters" and self.tokenizer in ("static", "pooling"):
            return f"tokenizer={self.tokenizer} makes no filters of tokens"
        if option == "maps" and self.tokenizer == "pooling":
            return "tokenizer=pooling has no attention"
        return ""

    @model_validator(mode="after")
    def _refuse_two_names_of_one_form(self) -> OwnChoices:
        changed = [option for option, value in self.paper.items() if getattr(self, option) == value]
        for option in changed:
            spelling = f"{option}={self.paper[option]}"
            if self.form == "paper":
                raise ValueError(f"form=paper has {spelling} already: leave {option} out")
            if reason := self.explain_absence(option):
                raise ValueError(f"{spelling} says nothing here, because {reason}. Leave it out")
        if changed and all(option in changed or self.explain_absence(option) for option in self.paper):
            raise ValueError(
                f"{', '.join(changed)}: with all of these switched off, the model is form=paper. Write that"
            )
        return self
