"""How tokens are found: what every model with visual tokens lets its user choose."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import CoreSchema, core_schema

from vtbench.layers.pointwise import NUM_HEADS
from vtbench.registry import Registry
from vtbench.relations.relation import RELATIONS
from vtbench.relations.transformer import TOKEN_DIM_MULTIPLE
from vtbench.tokenizers.tokenizer import TOKENIZERS
from vtbench.variants import ModelOptions


class OneOf:
    """An annotation: the field takes the names in a registry, and its schema lists them."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """The schema of a literal of all names that are registered now."""
        return core_schema.literal_schema(list(self.registry))


Relations = Annotated[str, OneOf(RELATIONS), Field(description="how tokens are related to each other")]


class TokenFindingOptions(ModelOptions):
    """How tokens are found. A combination that makes no sense is refused with the reason.

    A subclass has the option ``width``, the channels of the first stage, declared before these.
    """

    token_dim_per_width: ClassVar[int] = 16
    """What ``token_dim=0`` stands for. Wu et al. 2020 take 1024 dimensions where the first stage has 64 channels."""

    tokenizer: Annotated[str, OneOf(TOKENIZERS)] = Field(
        "dynamic",
        description="how tokens are found: dynamic = learned filters in the first module and recurrent ones after it, "
        "static = learned filters in all, pooling = a grid of cells in all, clustering = k-means in the first and "
        "recurrent after it",
    )
    position: Literal["off", "on"] = Field("off", description="encode where a token looked into the token")
    num_tokens: int = Field(16, ge=1, description="visual tokens of a module")
    token_dim: int = Field(
        0, ge=0, description="dimensions of a token, a multiple of 8; 0: 16 times the width (8 times with three stages)"
    )

    @field_validator("token_dim")
    @classmethod
    def _spell_the_default_in_one_way(cls, token_dim: int, info: ValidationInfo) -> int:
        """Return 0 for the dimension that 0 stands for, so that equal variants have equal spellings."""
        if token_dim % TOKEN_DIM_MULTIPLE:
            raise ValueError(
                f"option 'token_dim' was given {token_dim}; it must be a multiple of {TOKEN_DIM_MULTIPLE}, "
                f"because keys half as wide are split among {NUM_HEADS} heads"
            )
        return 0 if token_dim == cls.token_dim_per_width * info.data.get("width", 0) else token_dim

    @model_validator(mode="after")
    def _refuse_positions_without_attention(self) -> TokenFindingOptions:
        if self.tokenizer == "pooling" and self.position == "on":
            raise ValueError(
                "position=on encodes the spatial attention of tokens, and tokenizer=pooling has none. "
                "Leave one of them out"
            )
        return self
