"""Random numbers that are a pure function of what they are for: (seed, epoch, sample index, draw).

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) read as a
counter-based generator: output n of the generator seeded with s is ``mix(s + (n + 1) * golden)``, so it can be had
without the outputs before it. A key of several words is a chain: each word picks an output, which seeds the next
generator. Nothing is carried from draw to draw, so neither workers nor a resumed run have a state to restore.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

# Dimensions: B indices, D draws for each index.

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_MASK = 0xFFFFFFFFFFFFFFFF


def derive_key(*words: int | str) -> int:
    """A 64-bit key for a purpose, for example ``derive_key("order", seed, epoch)``. Integers may have any size."""
    state = 0
    for word in words:
        number = _number_text(word) if isinstance(word, str) else word & _MASK
        state = _mix_int((state + (number + 1) * _GOLDEN) & _MASK)
    return state


def draw_words(key: int, indices_B: NDArray[np.int64], num_draws: int) -> NDArray[np.uint64]:
    """Random 64-bit words of shape (B, D): word d of index i depends on ``key``, i and d, and on nothing else."""
    return draw_from(derive_states(key, indices_B), num_draws)


def derive_states(key: int, indices_B: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One generator state for each index, of shape (B,): the start of that index's stream of draws."""
    counters_B = (indices_B.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN) + np.uint64(key)
    return _mix(counters_B)


def draw_from(states_B: NDArray[np.uint64], num_draws: int, *, first: int = 0) -> NDArray[np.uint64]:
    """Outputs ``first`` to ``first + num_draws - 1`` of the SplitMix64 generators seeded with ``states_B``."""
    steps_D = (np.arange(first, first + num_draws, dtype=np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    return _mix(states_B[..., None] + steps_D)


def to_unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turn words into numbers uniform in [0, 1), by their upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def to_below(words: NDArray[np.uint64], bound: int) -> NDArray[np.int64]:
    """Turn words into integers uniform in ``range(bound)``, by their upper 32 bits; ``bound`` is at most 2**31.

    The bias of a value is below ``bound / 2**32``, as in Lemire's multiply-shift reduction without rejection.
    """
    return (((words >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)).astype(np.int64)


def shuffle(key: int, size: int) -> NDArray[np.int64]:
    """A permutation of ``range(size)``: the indices sorted by one random word each."""
    words = draw_words(key, np.arange(size, dtype=np.int64), 1)[:, 0]
    return np.argsort(words, kind="stable").astype(np.int64, copy=False)


def shuffle_in_windows(key: int, groups_N: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """A permutation of ``range(N)`` in which few groups come at a time; ``groups_N`` is the group of each index.

    Groups are put into random order, and of ``window`` of them at a time the indices are. With a window of all groups
    it is `shuffle`.
    """
    numbers, group_of_N = np.unique(groups_N, return_inverse=True)
    place_of = np.argsort(shuffle(derive_key("groups", key), len(numbers)))
    words_N = draw_words(key, np.arange(len(groups_N), dtype=np.int64), 1)[:, 0]
    return np.lexsort((words_N, place_of[group_of_N] // window)).astype(np.int64, copy=False)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(_FIRST)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(_SECOND)
    return words ^ (words >> np.uint64(31))


def _mix_int(word: int) -> int:
    word = ((word ^ (word >> 30)) * _FIRST) & _MASK
    word = ((word ^ (word >> 27)) * _SECOND) & _MASK
    return word ^ (word >> 31)


def _number_text(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
