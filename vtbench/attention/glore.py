"""Global reasoning: a map is projected to a few nodes, a graph convolution mixes them, and they are projected back."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from vtbench.attention.attention_block import register_attention
from vtbench.catalog import Look
from vtbench.layers.convolution import Conv2d
from vtbench.variants import ModelOptions

# B images, C channels, H height, W width of a map, L = H * W; M nodes, S states of a node.


class GlobalReasoning(nn.Module):
    """``y = x + BN(W_e U)`` with ``U = W_s relu((I + A) V) P``: (B, C, H, W) -> (B, C, H, W).

    ``V = S(x) P^T`` (states S x nodes M), where S(x) and P are 1x1 convolutions of x with bias; ``A`` is a 1x1
    convolution over nodes, ``W_s`` one over states, ``W_e`` expands S -> C. Chen et al. 2019 (arXiv 1811.12814),
    section 3, and the authors' code: M = ``num_nodes`` and S = 2 M, the same projection P is used in
    both directions, no softmax, the last normalisation starts at zero (the unit at the identity) with epsilon 1e-4.
    ``normalize`` divides V by L, which the authors do where images vary in size.

    Cost per image: L (2 C S + C M + 2 S M) + S M (M + S) MACs; 2 C S + C M + M^2 + S^2 + S + 2 M + 2 C parameters.
    """

    role = "spatial attention"

    def __init__(self, channels: int, num_nodes: int, *, normalize: bool = False) -> None:
        super().__init__()
        self.normalize, self.num_nodes, self.num_states = normalize, num_nodes, 2 * num_nodes
        self.state = Conv2d(channels, self.num_states, 1)
        self.project = Conv2d(channels, num_nodes, 1)
        self.mix_nodes = nn.Conv1d(num_nodes, num_nodes, 1)
        self.relu = nn.ReLU()
        self.mix_states = nn.Conv1d(self.num_states, self.num_states, 1, bias=False)
        self.extend = Conv2d(self.num_states, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels, eps=1e-4)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as the identity."""
        nn.init.zeros_(self.norm.weight)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Project, reason, project back, add."""
        states_BSL = self.state(map_BCHW).flatten(2)
        project_BML = self.project(map_BCHW).flatten(2)
        nodes_BSM = states_BSL @ project_BML.transpose(1, 2)
        if self.normalize:
            nodes_BSM = nodes_BSM / states_BSL.shape[2]
        mixed_BSM = self.mix_nodes(nodes_BSM.transpose(1, 2)).transpose(1, 2) + nodes_BSM
        back_BSL = self.mix_states(self.relu(mixed_BSM)) @ project_BML
        return map_BCHW + self.norm(self.extend(back_BSL.unflatten(2, map_BCHW.shape[2:])))  # type: ignore[no-any-return]

    def expected_macs(self, map_shape: tuple[int, ...]) -> int:
        """MACs for a map of this shape (B, C, H, W)."""
        batch, channels, height, width = map_shape
        states, nodes = self.num_states, self.num_nodes
        per_cell = 2 * channels * states + channels * nodes + 2 * states * nodes
        return batch * (height * width * per_cell + states * nodes * (nodes + states))


class GlobalReasoningOptions(ModelOptions):
    """What a user may change about the unit."""

    reduction: int = Field(4, ge=1, description="channels of the map over nodes of the graph")
    normalize: Literal["none", "cells"] = Field("none", description="divide the nodes by the number of cells")


@register_attention(
    "glore",
    place="unit",
    options=GlobalReasoningOptions(),
    source="Chen et al. 2019, Graph-Based Global Reasoning Networks, section 3",
    look=Look("GloRe", "#c2569b", ">"),
    where={3: (1,), 4: (1,)},
)
def build_glore(channels: int, map_size: tuple[int, int], reduction: int, normalize: str) -> GlobalReasoning:
    """The unit between two residual blocks."""
    return GlobalReasoning(channels, channels // reduction, normalize=normalize == "cells")
