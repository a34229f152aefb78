import numpy as np
import pytest

from vtbench.datasets.counter_based import derive_key, derive_states, draw_from, draw_words, shuffle, to_below, to_unit

KNOWN_OUTPUTS = {  # SplitMix64, first outputs of the generator with this seed, as the reference C program gives them.
    1234567: [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ],
    0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F],
}


@pytest.mark.parametrize("seed", KNOWN_OUTPUTS)
def test_words_are_the_outputs_of_splitmix64(seed):
    expected = KNOWN_OUTPUTS[seed]
    assert draw_from(np.array([seed], np.uint64), len(expected))[0].tolist() == expected
    assert draw_from(np.array([seed], np.uint64), 2, first=1)[0].tolist() == expected[1:3]


def test_keys_and_states_are_chains_of_the_same_generator():
    state = 0
    for word in (3, 5, 7):
        state = int(draw_from(np.array([state], np.uint64), 1, first=word)[0, 0])
    assert derive_key(3, 5, 7) == state
    assert int(derive_states(derive_key(3, 5), np.array([7]))[0]) == state


def test_a_draw_depends_on_its_key_index_and_number_and_not_on_its_company():
    key, indices = derive_key("augmentation", 0, 3), np.array([5, 2, 99, 2])
    together = draw_words(key, indices, 4)
    for row, index in enumerate(indices):
        assert together[row].tolist() == draw_words(key, np.array([index]), 4)[0].tolist()
    assert len({*together[:3].ravel().tolist()}) == 12
    assert draw_words(derive_key("augmentation", 1, 3), indices, 4)[0, 0] != together[0, 0]
    assert derive_key("a", 1, 23) != derive_key("a", 12, 3) != derive_key("b", 12, 3)


def test_draws_are_uniform_and_independent_over_samples_epochs_and_draws():
    units = np.stack([to_unit(draw_words(derive_key("u", 0, epoch), np.arange(4000), 5)) for epoch in range(5)])
    assert units.min() >= 0 and units.max() < 1
    counts = np.bincount((units.ravel() * 64).astype(int), minlength=64)
    chi_square = ((counts - units.size / 64) ** 2 / (units.size / 64)).sum()
    assert 32 < chi_square < 110  # 63 degrees of freedom: beyond these in one of about 10,000 cases.
    flat = units.transpose(0, 2, 1).reshape(25, 4000)
    correlations = np.corrcoef(flat) - np.eye(25)
    assert abs(correlations).max() < 5 / np.sqrt(4000)
    neighbours = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in flat]
    assert np.abs(neighbours).max() < 5 / np.sqrt(4000)


def test_integers_below_a_bound_are_uniform_and_reach_both_ends():
    drawn = to_below(draw_words(derive_key("i"), np.arange(90_000), 1)[:, 0], 9)
    counts = np.bincount(drawn, minlength=9)
    assert len(counts) == 9
    assert abs(counts - 10_000).max() < 500


def test_a_shuffle_is_a_permutation_without_preferred_places():
    size = 50
    orders = np.stack([shuffle(derive_key("order", 0, epoch), size) for epoch in range(2000)])
    assert (np.sort(orders, axis=1) == np.arange(size)).all()
    counts = np.stack([np.bincount(orders[:, place], minlength=size) for place in range(size)])
    assert abs(counts - 40).max() < 6 * np.sqrt(40)
