"""The visual transformer in the place of a network's last stage (Wu et al. 2020, arXiv 2006.03677, section 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from vtbench.layers.pointwise import TokenLinear
from vtbench.layers.residual_branch import BRANCH_SCALE, BranchLayerNorm
from vtbench.projectors.attention_projector import AttentionProjector
from vtbench.relations.relation import Relation
from vtbench.tokenizers.position import AttentionPosition
from vtbench.tokenizers.tokenizer import Tokenizer

# B images, C channels, H height, W width of a map; L tokens; D dimensions of a token.


class TokenMlp(nn.Module):
    """norm(relu(norm(T W_1)) W_2), W_1: C x D, W_2: D x D: pooled values (B, L, C) -> tokens (B, L, D).

    L (C D + D^2) MACs with two layers; one is norm(T W_1), none, where C = D, is norm(T). That two dense layers stand
    in a VT-ResNet where C differs from D, and one where not, follows from the costs that Wu et al. 2020 print. Layer
    normalisation: batch normalisation over tokens made the gradients of the convolutions below much larger and
    training slow.
    """

    role = "token MLP"

    def __init__(self, in_dim: int, token_dim: int, num_layers: int) -> None:
        super().__init__()
        self.token_dim = token_dim
        self.num_layers = num_layers
        layers: list[nn.Module] = []
        for index in range(num_layers):
            is_last = index == num_layers - 1
            layers.append(TokenLinear(token_dim if index else in_dim, token_dim, gain=1.0 if is_last else math.sqrt(2)))
            layers += [nn.LayerNorm(token_dim)] if is_last else [nn.LayerNorm(token_dim), nn.ReLU()]
        self.layers = nn.Sequential(*layers) if layers else nn.LayerNorm(token_dim)

    def forward(self, pooled_BLC: Tensor) -> Tensor:
        """Pooled values to tokens."""
        return self.layers(pooled_BLC)  # type: ignore[no-any-return]

    def expected_macs(self, pooled_shape: tuple[int, ...]) -> int:
        """The first layer from C, the others from D."""
        batch, num_tokens, in_dim = pooled_shape
        widths = (in_dim, *(self.token_dim,) * (self.num_layers - 1))[: self.num_layers]
        return batch * num_tokens * sum(widths) * self.token_dim


class TokenReader(nn.Module):
    """Tokenizer, token MLP, position (or None): what the parts that read tokens off a map share.

    ``relation_name`` is what records call the relation of the tokens, and ``no_mixing`` why it gives no weights with
    which the tokens of this part are mixed; empty if it gives some.
    """

    relation_name: str
    no_mixing: str

    def __init__(self, tokenizer: Tokenizer, token_mlp: TokenMlp, position: AttentionPosition | None) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.token_mlp = token_mlp
        self.position = position

    @property
    def no_attention(self) -> str:
        """Why the part has no spatial attention; empty if it has."""
        return self.tokenizer.no_attention

    def read_tokens(self, map_BCHW: Tensor, earlier_BLD: Tensor | None) -> Tensor:
        """Tokens (B, L, D) of a map; ``earlier_BLD`` may tell the tokenizer where to look."""
        pooled_BLC, attention_BLHW = self.tokenizer(map_BCHW, earlier_BLD)
        found_BLD: Tensor = self.token_mlp(pooled_BLC)
        return found_BLD if self.position is None else self.position(found_BLD, attention_BLHW)


class VisualTransformerModule(TokenReader):
    """Tokenizer, token MLP, position, relation, projector: (map, tokens before) -> (map, tokens).

    ``position`` and ``projector`` may be None; without a projector the map goes on unchanged. Tokens of the module
    before are added to the new ones, unless ``carry`` is off. The paper does not say so; the sum gives the loss a short
    way to every module and costs nothing.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        token_mlp: TokenMlp,
        position: AttentionPosition | None,
        relation: Relation,
        projector: AttentionProjector | None,
        *,
        carry: bool = True,
    ) -> None:
        super().__init__(tokenizer, token_mlp, position)
        self.carry = carry
        self.relation = relation
        self.relation_name, self.no_mixing = relation.name, relation.no_attention
        self.projector = projector

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step of the visual transformer."""
        found_BLD = self.read_tokens(map_BCHW, tokens_BLD)
        related_BLD = self.relation(found_BLD + tokens_BLD if self.carry and tokens_BLD is not None else found_BLD)
        if self.projector is not None:
            map_BCHW = self.projector(map_BCHW, related_BLD)
        return map_BCHW, related_BLD


class TokenModule(nn.Module):
    """A module that does not read the map: T_out = relation(T + norm(T W)), W: D x D (table 7, no projector).

    Without projectors all modules would read the same map; the paper's costs imply that only the first one does. With
    ``carry`` off, T_out = relation(norm(T W)), which is no residual branch: its normalisation starts at full strength.
    """

    role = "token MLP"
    no_attention = "Without a projector, only the first module reads the map; later ones see tokens only."

    def __init__(
        self, token_dim: int, relation: Relation, *, carry: bool = True, branch_scale: float = BRANCH_SCALE
    ) -> None:
        super().__init__()
        self.carry = carry
        self.dense = TokenLinear(token_dim, token_dim)
        self.norm = BranchLayerNorm(token_dim, branch_scale if carry else 1.0)
        self.relation = relation

    def forward(self, map_BCHW: Tensor, tokens_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """One step on the tokens; the map goes on unchanged."""
        made_BLD = self.norm(self.dense(tokens_BLD))
        return map_BCHW, self.relation(tokens_BLD + made_BLD if self.carry else made_BLD)


class VisualTransformer(nn.Module):
    """Modules one after the other: map (B, C, H, W) -> the tokens (B, L, D) of the last.

    ``pool``, if any, is applied to the map first. The modules are the children "0", "1", ..
    """

    def __init__(self, modules: Sequence[nn.Module], pool: nn.Module | None = None) -> None:
        super().__init__()
        self.pool = pool
        self.num_modules = len(modules)
        for index, module in enumerate(modules):
            self.add_module(str(index), module)

    def list_modules(self) -> list[nn.Module]:
        """The modules in order."""
        return [self.get_submodule(str(index)) for index in range(self.num_modules)]

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Map to tokens."""
        if self.pool is not None:
            map_BCHW = self.pool(map_BCHW)
        tokens_BLD = None
        for module in self.list_modules():
            map_BCHW, tokens_BLD = module(map_BCHW, tokens_BLD)
        return tokens_BLD  # type: ignore[return-value]


class TokenMean(nn.Module):
    """The mean over the tokens, which the classifier reads: (B, L, D) -> (B, D). No parameters, no MACs."""

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Tokens to features."""
        return tokens_BLD.mean(dim=1)
