"""Every block against a slow literal transcription of its equation, with random weights, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from registered_blocks import build_registered
from torch import Tensor, nn

from vtbench.attention.attention_block import ATTENTION_BLOCKS
from vtbench.attention.augmented import AugmentedConv
from vtbench.attention.bottleneck_attention import BottleneckAttention
from vtbench.attention.cbam import ConvolutionalBlockAttention
from vtbench.attention.double_attention import DoubleAttention
from vtbench.attention.glore import GlobalReasoning
from vtbench.attention.local_relation import LocalRelation
from vtbench.attention.non_local import NonLocal
from vtbench.attention.relative_attention import RelativeAttention
from vtbench.attention.san import PairwiseAttention, PatchwiseAttention
from vtbench.attention.squeeze_excitation import SqueezeExcitation
from vtbench.attention.stand_alone import AttentionStem, StandAloneAttention

Apply = Callable[[nn.Module, Tensor], Tensor]
HEIGHT, WIDTH = 6, 5


def randomize(block: nn.Module) -> nn.Module:
    """All weights and running statistics random, in evaluation, so that nothing is hidden by a zero or a one."""
    generator = torch.Generator().manual_seed(3)
    for tensor in [*block.parameters(), *block.buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.rand(tensor.shape, generator=generator, dtype=torch.double) * 0.8 - 0.2
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var += 0.5
    return block.double().eval()


def cells() -> Iterator[tuple[int, int]]:
    return ((row, column) for row in range(HEIGHT) for column in range(WIDTH))


def window(row: int, column: int, kernel_size: int) -> list[tuple[int, int, int, int, int]]:
    """(index of the offset, row offset, column offset, row, column) of all places around a cell, also outside."""
    before = (kernel_size - 1) // 2
    offsets = [(a, b) for a in range(kernel_size) for b in range(kernel_size)]
    return [
        (index, a - before, b - before, row + a - before, column + b - before) for index, (a, b) in enumerate(offsets)
    ]


def is_inside(row: int, column: int) -> bool:
    return 0 <= row < HEIGHT and 0 <= column < WIDTH


def apply_1x1(convolution: nn.Module, map_BCHW: Tensor) -> Tensor:
    assert isinstance(convolution, nn.Conv2d)
    out = torch.einsum("oc,bchw->bohw", convolution.weight[:, :, 0, 0], map_BCHW)
    return out if convolution.bias is None else out + convolution.bias[:, None, None]


def normalize(norm: nn.Module, map_BCHW: Tensor) -> Tensor:
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (map_BCHW - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


def write_squeeze_excitation(block: SqueezeExcitation, x: Tensor) -> Tensor:
    squeezed = x.mean(dim=(2, 3), keepdim=True)
    return x * torch.sigmoid(apply_1x1(block.gate.fc2, torch.relu(apply_1x1(block.gate.fc1, squeezed))))


def write_cbam(block: ConvolutionalBlockAttention, x: Tensor) -> Tensor:
    gate = block.channel_gate

    def mlp(vector_BC: Tensor) -> Tensor:
        hidden = torch.relu(vector_BC @ gate.squeeze.weight.T + gate.squeeze.bias)
        return hidden @ gate.excite.weight.T + gate.excite.bias

    channels = torch.sigmoid(mlp(x.mean(dim=(2, 3))) + mlp(x.flatten(2).max(dim=2).values))
    x = channels[:, :, None, None] * x
    maps = torch.stack([x.max(dim=1).values, x.mean(dim=1)], dim=1)
    convolved = torch.zeros(len(x), 1, HEIGHT, WIDTH, dtype=x.dtype)
    for row, column in cells():
        for index, _, _, r, c in window(row, column, 7):
            if is_inside(r, c):
                taps = block.spatial_gate.conv.weight[0].flatten(1)[:, index]
                convolved[:, 0, row, column] += maps[:, :, r, c] @ taps
    return x * torch.sigmoid(normalize(block.spatial_gate.norm, convolved))


def write_local_relation(block: LocalRelation, x: Tensor) -> Tensor:
    query = torch.einsum("oc,bchw->bohw", block.query.weight[:, :, 0, 0], x)
    key = apply_1x1(block.key, x)
    half = block.kernel_size // 2
    out = torch.zeros_like(x)[:, :, :: block.stride, :: block.stride]
    sizes = [len(part) for part in torch.arange(x.shape[1]).tensor_split(block.num_maps)]
    channel_to_map = torch.arange(block.num_maps).repeat_interleave(torch.tensor(sizes))
    for row, column in cells():
        if row % block.stride or column % block.stride:
            continue
        logits, seen = [], []
        for _, a, b, r, c in window(row, column, block.kernel_size):
            if is_inside(r, c):
                offset = torch.tensor([a / half, b / half], dtype=x.dtype)
                hidden = torch.relu(block.geometry.hidden.weight @ offset + block.geometry.hidden.bias)
                prior = block.geometry.output.weight @ hidden + block.geometry.output.bias
                logits.append(query[:, :, row, column] * key[:, :, r, c] + prior)
                seen.append(x[:, :, r, c])
        weights = torch.stack(logits).softmax(dim=0)[:, :, channel_to_map]
        out[:, :, row // block.stride, column // block.stride] = (weights * torch.stack(seen)).sum(0)
    return apply_1x1(block.transformation, out)


def write_stand_alone(block: StandAloneAttention, x: Tensor) -> Tensor:
    query, key, value = (apply_1x1(part, x) for part in (block.query, block.key, block.value))
    out = torch.zeros_like(query)
    before = (block.kernel_size - 1) // 2
    for row, column in cells():
        for head in range(block.num_heads):
            own = slice(head * block.head_dim, (head + 1) * block.head_dim)
            logits, values = [], []
            for _, a, b, r, c in window(row, column, block.kernel_size):
                if is_inside(r, c):
                    relative = torch.cat([block.row_embedding[a + before], block.column_embedding[b + before]])
                    q = query[:, own, row, column]
                    logits.append((q * key[:, own, r, c]).sum(1) + q @ relative)
                    values.append(value[:, own, r, c])
            weights = torch.stack(logits).softmax(dim=0)
            out[:, own, row, column] = (weights[..., None] * torch.stack(values)).sum(0)
    if isinstance(block.pool, nn.Identity):
        return out
    pooled = [
        [out[:, :, r : r + 2, c : c + 2].mean(dim=(2, 3)) for c in range(0, WIDTH, 2)] for r in range(0, HEIGHT, 2)
    ]
    return torch.stack([torch.stack(line, dim=2) for line in pooled], dim=2)


def write_attention_stem(block: AttentionStem, x: Tensor) -> Tensor:
    query, key = apply_1x1(block.query, x), apply_1x1(block.key, x)
    out = torch.zeros_like(query)
    channels, before = x.shape[1], (block.kernel_size - 1) // 2
    for row, column in cells():
        for head in range(block.num_heads):
            own = slice(head * block.head_dim, (head + 1) * block.head_dim)
            matrices = block.value.weight[own, :, 0, 0].unflatten(1, (block.num_mixtures, channels))
            logits, values = [], []
            for _, a, b, r, c in window(row, column, block.kernel_size):
                if is_inside(r, c):
                    place = block.row_embedding[a + before] + block.column_embedding[b + before]
                    share = (block.mixture_embedding @ place).softmax(dim=0)
                    mixed = sum(share[m] * matrices[:, m] for m in range(block.num_mixtures))
                    logits.append((query[:, own, row, column] * key[:, own, r, c]).sum(1))
                    values.append(x[:, :, r, c] @ mixed.T)
            weights = torch.stack(logits).softmax(dim=0)
            out[:, own, row, column] = (weights[..., None] * torch.stack(values)).sum(0)
    return out


def write_relative_attention(block: RelativeAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Queries and keys (B, G, D, H, W), values (B, G, E, H, W)."""
    height, width = query.shape[3:]
    out = torch.zeros_like(value)
    for row in range(height):
        for column in range(width):
            q = query[..., row, column] / math.sqrt(block.head_dim)
            logits = torch.zeros(*q.shape[:2], height, width, dtype=q.dtype)
            for r in range(height):
                for c in range(width):
                    place = block.rows[r - row + height - 1] + block.columns[c - column + width - 1]
                    logits[:, :, r, c] = (q * (key[..., r, c] + place)).sum(2)
            weights = logits.flatten(2).softmax(dim=2)
            out[..., row, column] = (weights[:, :, None] * value.flatten(3)).sum(3)
    return out


def write_means_of_three(x: Tensor) -> Tensor:
    rows = torch.stack([x[:, :, max(r - 1, 0) : r + 2].mean(2) for r in range(0, x.shape[2], 2)], dim=2)
    return torch.stack([rows[..., max(c - 1, 0) : c + 2].mean(3) for c in range(0, x.shape[3], 2)], dim=3)


def write_augmented(block: AugmentedConv, x: Tensor) -> Tensor:
    stride = int(block.conv.stride[0])
    convolved = torch.zeros(len(x), block.conv.out_channels, HEIGHT, WIDTH, dtype=x.dtype)
    for row, column in cells():
        for index, _, _, r, c in window(row, column, 3):
            if is_inside(r, c):
                convolved[:, :, row, column] += x[:, :, r, c] @ block.conv.weight.flatten(2)[:, :, index].T
    convolved = convolved[:, :, ::stride, ::stride]
    if block.is_pooled:
        x = write_means_of_three(x)
    projected = torch.einsum("oc,bchw->bohw", block.project.weight[:, :, 0, 0], x[:, :, ::stride, ::stride])
    sizes = [block.num_key, block.num_key, block.num_value]
    heads = [part.unflatten(1, (block.num_heads, -1)) for part in projected.split(sizes, dim=1)]
    attended = apply_1x1(block.output, write_relative_attention(block.attention, *heads).flatten(1, 2))
    if block.is_pooled:
        attended = nn.functional.interpolate(attended, convolved.shape[2:], mode="bilinear", align_corners=False)
    return torch.cat([convolved, attended], dim=1)


def write_bottleneck_attention(block: BottleneckAttention, x: Tensor) -> Tensor:
    query, key, value = apply_1x1(block.project, x).chunk(3, dim=1)
    heads = [part.unflatten(1, (block.num_heads, -1)) for part in (query, key, value)]
    return write_relative_attention(block.attention, *heads).flatten(1, 2)


def reflect(place: int, side: int) -> int:
    place = -place if place < 0 else place
    return 2 * (side - 1) - place if place >= side else place


def write_gamma(gamma: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(gamma, nn.Sequential)
    hidden = apply_1x1(gamma[2], torch.relu(normalize(gamma[0], x)))
    return apply_1x1(gamma[5], torch.relu(normalize(gamma[3], hidden)))


def write_pairwise(block: PairwiseAttention, x: Tensor) -> Tensor:
    phi, psi, beta = apply_1x1(block.phi, x), apply_1x1(block.psi, x), apply_1x1(block.beta, x)
    out = torch.zeros_like(beta)

    def place(row: int, column: int) -> Tensor:
        where = torch.tensor([2 * column / (WIDTH - 1) - 1, 2 * row / (HEIGHT - 1) - 1], dtype=x.dtype)
        return block.position.weight[:, :, 0, 0] @ where + block.position.bias  # type: ignore[operator]

    for row, column in cells():
        around = [(reflect(r, HEIGHT), reflect(c, WIDTH)) for _, _, _, r, c in window(row, column, block.kernel_size)]
        compared = [
            torch.cat(
                [phi[:, :, row, column] - psi[:, :, r, c], (place(row, column) - place(r, c)).expand(len(x), -1)], dim=1
            )
            for r, c in around
        ]
        alpha = write_gamma(block.gamma, torch.stack(compared, dim=2)[..., None])[..., 0].softmax(dim=2)
        for channel in range(beta.shape[1]):
            for index, (r, c) in enumerate(around):
                out[:, channel, row, column] += alpha[:, channel % block.num_maps, index] * beta[:, channel, r, c]
    return out


def write_patchwise(block: PatchwiseAttention, x: Tensor) -> Tensor:
    phi, psi, beta = apply_1x1(block.phi, x), apply_1x1(block.psi, x), apply_1x1(block.beta, x)
    out = torch.zeros_like(beta)
    for row, column in cells():
        around = [(reflect(r, HEIGHT), reflect(c, WIDTH)) for _, _, _, r, c in window(row, column, block.kernel_size)]
        patch = torch.stack([psi[:, :, r, c] for r, c in around], dim=2).flatten(1)
        joined = torch.cat([phi[:, :, row, column], patch], dim=1)[..., None, None]
        alpha = write_gamma(block.gamma, joined)[..., 0, 0].unflatten(1, (block.num_maps, len(around)))
        for channel in range(beta.shape[1]):
            for index, (r, c) in enumerate(around):
                out[:, channel, row, column] += alpha[:, channel % block.num_maps, index] * beta[:, channel, r, c]
    return out


def write_glore(block: GlobalReasoning, x: Tensor) -> Tensor:
    states, projection = apply_1x1(block.state, x).flatten(2), apply_1x1(block.project, x).flatten(2)
    nodes = torch.einsum("bsl,bml->bsm", states, projection)
    nodes = nodes / (HEIGHT * WIDTH) if block.normalize else nodes
    adjacency = block.mix_nodes.weight[:, :, 0]
    mixed = torch.einsum("nm,bsm->bsn", adjacency, nodes) + block.mix_nodes.bias + nodes  # type: ignore[operator]
    updated = torch.einsum("ts,bsm->btm", block.mix_states.weight[:, :, 0], torch.relu(mixed))
    back = torch.einsum("bsm,bml->bsl", updated, projection).unflatten(2, (HEIGHT, WIDTH))
    return x + normalize(block.norm, apply_1x1(block.extend, back))


def write_double_attention(block: DoubleAttention, x: Tensor) -> Tensor:
    feature = apply_1x1(block.feature, x).flatten(2)
    gather = apply_1x1(block.gather, x).flatten(2)
    distribute = apply_1x1(block.distribute, x).flatten(2)
    over_cells = gather.exp() / gather.exp().sum(dim=2, keepdim=True)
    over_descriptors = distribute.exp() / distribute.exp().sum(dim=1, keepdim=True)
    descriptors = torch.einsum("bml,bnl->bmn", feature, over_cells)
    given = torch.einsum("bmn,bnl->bml", descriptors, over_descriptors)
    return x + apply_1x1(block.extend, given.unflatten(2, (HEIGHT, WIDTH)))


def write_non_local(block: NonLocal, x: Tensor) -> Tensor:
    theta, phi, g = (apply_1x1(part, x).flatten(2) for part in (block.theta, block.phi, block.value))
    out = torch.zeros_like(g)
    for place in range(HEIGHT * WIDTH):
        affinity = torch.einsum("bd,bdl->bl", theta[:, :, place], phi).exp()
        out[:, :, place] = (affinity[:, None] * g).sum(2) / affinity.sum(1, keepdim=True)
    return x + normalize(block.norm, apply_1x1(block.extend, out.unflatten(2, (HEIGHT, WIDTH))))


SIZE = (HEIGHT, WIDTH)
BLOCKS: dict[str, tuple[nn.Module, Apply, int]] = {
    "squeeze-and-excitation": (SqueezeExcitation(8, 4), write_squeeze_excitation, 8),
    "cbam": (ConvolutionalBlockAttention(8, 4), write_cbam, 8),
    "local relation": (LocalRelation(8, 6, kernel_size=3, channels_per_map=4), write_local_relation, 8),
    "local relation, stride 2": (
        LocalRelation(8, 6, kernel_size=5, stride=2, channels_per_map=4),
        write_local_relation,
        8,
    ),
    "local relation, uneven": (LocalRelation(10, 6, kernel_size=3, channels_per_map=4), write_local_relation, 10),
    "local relation, three uneven": (LocalRelation(11, 4, kernel_size=3, channels_per_map=3), write_local_relation, 11),
    "stand-alone": (StandAloneAttention(6, 8, kernel_size=3, num_heads=2), write_stand_alone, 6),
    "stand-alone, wide": (StandAloneAttention(6, 8, kernel_size=7, num_heads=4), write_stand_alone, 6),
    "stand-alone, stride 2": (StandAloneAttention(6, 8, kernel_size=3, stride=2, num_heads=2), write_stand_alone, 6),
    "attention stem": (AttentionStem(3, 8, num_heads=2), write_attention_stem, 3),
    "augmented": (AugmentedConv(6, 16, map_size=SIZE, num_heads=2, min_key_dim=3, upsilon=0.3), write_augmented, 6),
    "augmented, stride 2": (
        AugmentedConv(6, 16, map_size=SIZE, stride=2, num_heads=2, kappa=0.5, min_key_dim=1),
        write_augmented,
        6,
    ),
    "augmented, pooled": (
        AugmentedConv(6, 16, map_size=SIZE, num_heads=2, min_key_dim=3, upsilon=0.3, largest_map=4),
        write_augmented,
        6,
    ),
    "augmented, pooled, stride 2": (
        AugmentedConv(6, 16, map_size=SIZE, stride=2, num_heads=2, min_key_dim=3, largest_map=2),
        write_augmented,
        6,
    ),
    "bottleneck attention": (BottleneckAttention(6, 8, map_size=SIZE, num_heads=2), write_bottleneck_attention, 6),
    "pairwise": (PairwiseAttention(6, 3, 8, 3, share=4), write_pairwise, 6),
    "pairwise, wide": (PairwiseAttention(6, 3, 8, 7, share=2), write_pairwise, 6),
    "patchwise": (PatchwiseAttention(6, 3, 8, 3, share=4), write_patchwise, 6),
    "glore": (GlobalReasoning(8, 3), write_glore, 8),
    "glore, normalized": (GlobalReasoning(8, 3, normalize=True), write_glore, 8),
    "double attention": (DoubleAttention(8, 3, 5), write_double_attention, 8),
    "non-local": (NonLocal(8, 4), write_non_local, 8),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_computes_its_equation(name: str) -> None:
    block, write, channels = BLOCKS[name]
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, channels, HEIGHT, WIDTH, generator=generator, dtype=torch.double)
    with torch.no_grad():
        found, expected = randomize(block)(x), write(block, x)
    assert found.std() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_bottleneck_attention_with_a_stride_is_a_mean_over_attention_without() -> None:
    strided = randomize(BottleneckAttention(6, 8, map_size=SIZE, stride=2, num_heads=2))
    plain = randomize(BottleneckAttention(6, 8, map_size=SIZE, num_heads=2))
    x = torch.randn(2, 6, HEIGHT, WIDTH, dtype=torch.double)
    with torch.no_grad():
        expected = nn.functional.avg_pool2d(plain(x), 2, ceil_mode=True)
        torch.testing.assert_close(strided(x), expected)


@pytest.mark.parametrize("name", list(ATTENTION_BLOCKS))
def test_every_registered_block_is_in_the_table(name: str) -> None:
    kind = type(build_registered(name))
    known = {type(row[0]) for row in BLOCKS.values()}
    assert kind in known, f"enter {kind.__name__} in BLOCKS, above in this file: its equation, written out slowly"
