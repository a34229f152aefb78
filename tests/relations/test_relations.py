import math

import pytest
import torch
import torch.nn.functional as F

from vtbench.layers.residual_branch import BRANCH_SCALE
from vtbench.profiling import profile
from vtbench.relations.graph_conv import GraphConvolution
from vtbench.relations.relation import RELATIONS
from vtbench.relations.transformer import MLP_GROUPS, TokenTransformer

NUM_TOKENS, TOKEN_DIM, NUM_HEADS = 5, 32, 4


def make_tokens() -> torch.Tensor:
    return torch.randn(2, NUM_TOKENS, TOKEN_DIM, generator=torch.Generator().manual_seed(0))


def test_the_transformer_follows_equations_3_and_4():
    relation, tokens = TokenTransformer(NUM_TOKENS, TOKEN_DIM).eval(), make_tokens()
    mixed = torch.empty_like(tokens)
    keys, queries = tokens @ relation.key.weight.T, tokens @ relation.query.weight.T
    for head in range(NUM_HEADS):
        narrow, wide = (slice(head * width, (head + 1) * width) for width in (4, 8))
        logits = keys[:, :, narrow] @ queries[:, :, narrow].transpose(1, 2) / math.sqrt(4)
        mixed[:, :, wide] = logits.softmax(dim=2) @ tokens[:, :, wide]
    expected = tokens + relation.attention_norm(mixed)
    hidden = F.conv1d(expected.transpose(1, 2), relation.mlp.expand.weight, groups=MLP_GROUPS).relu()
    reduced = F.conv1d(hidden, relation.mlp.reduce.weight, groups=MLP_GROUPS).transpose(1, 2)
    expected = expected + relation.mlp_norm(reduced)
    torch.testing.assert_close(relation(tokens), expected)


def test_attention_between_tokens_can_be_read_and_its_rows_sum_to_one():
    weights = TokenTransformer(NUM_TOKENS, TOKEN_DIM).attend(make_tokens())
    assert weights.shape == (2, NUM_HEADS, NUM_TOKENS, NUM_TOKENS)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(2, NUM_HEADS, NUM_TOKENS))


def test_graph_convolution_mixes_with_one_matrix_for_all_images():
    relation, tokens = GraphConvolution(NUM_TOKENS, TOKEN_DIM).eval(), make_tokens()
    expected = tokens + relation.norm(torch.einsum("lm,bmd->bld", relation.mixing, tokens))
    torch.testing.assert_close(relation(tokens), expected)


@pytest.mark.parametrize("name", list(RELATIONS))
def test_each_relation_starts_near_the_identity_and_states_its_macs(name):
    torch.manual_seed(0)
    relation, tokens = RELATIONS[name](NUM_TOKENS, TOKEN_DIM).eval(), make_tokens()
    change = (relation(tokens) - tokens).square().mean().sqrt()
    assert change <= 2 * BRANCH_SCALE
    counted = profile(relation, inputs=(tokens,), activations=False).macs
    assert counted == (0 if name == "none" else relation.expected_macs(tuple(tokens.shape)))


def test_the_macs_of_the_transformer_are_those_of_the_paper():
    # 16 tokens of 1024 dimensions: K and Q dense to 512, logits and mixing, F1 and F2 in four groups.
    expected = 2 * 16 * 1024 * 512 + 16 * 16 * (512 + 1024) + 2 * 16 * 1024 * 256
    with torch.device("meta"):
        assert TokenTransformer(16, 1024).expected_macs((1, 16, 1024)) == expected
