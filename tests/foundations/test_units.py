import pytest

from vtbench.units import (
    choose_byte_scale,
    choose_scale,
    format_bytes,
    format_count,
    format_duration,
    format_fine,
    format_items,
    format_millions,
    format_share,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 K"),
        (1_578_954_752, "1.58 G"),
        (17_563_828_224, "17.56 G"),
        (-2_000_000, "-2.00 M"),
    ],
)
def test_counts_print_with_the_largest_prefix(count: int, text: str) -> None:
    assert format_count(count) == text


def test_numbers_of_things_agree_with_their_noun() -> None:
    assert format_items(1, "thread") == "1 thread"
    assert format_items(2, "thread") == "2 threads"
    assert format_items(0, "batch", "batches") == "0 batches"


def test_millions_are_separated_by_thousands() -> None:
    assert format_millions(1_578_954_752) == "1,578.95"


def test_only_nothing_is_printed_as_nothing() -> None:
    assert [format_millions(count) for count in (0, 640, 4_999, 5_001)] == ["0.00", "<0.01", "<0.01", "0.01"]
    assert format_millions(10, digits=3) == "<0.001"
    assert [format_share(part, 10_000) for part in (0, 1, 9_999, 10_000)] == ["0.0", "<0.1", "99.9", "100"]


def test_counts_of_one_column_have_one_unit_that_suits_the_largest() -> None:
    scale = choose_scale([4_492, 64])
    assert (scale.entitle("params"), scale.show(4_492), scale.show(3)) == ("params (K)", "4.49", "<0.01")
    assert choose_scale([17_563_828_224, 3]).entitle("MACs") == "MACs (M)"
    assert (choose_scale([900]).entitle("MACs"), choose_scale([900]).show(900)) == ("MACs", "900")


def test_sizes_of_one_column_have_one_unit_in_which_small_ones_are_told_apart() -> None:
    scale = choose_byte_scale([472_166, 471_000])
    assert (scale.entitle("peak"), scale.show_fine(472_166), scale.show_fine(471_000)) == (
        "peak (KiB)",
        "461.1",
        "460.0",
    )
    scale = choose_byte_scale([3 * 2**30, 30_000, 20_000, 0])
    assert scale.prefix == "MiB"
    assert [scale.show_fine(size) for size in (3 * 2**30, 30_000, 20_000, 0)] == ["3,072.0", "0.029", "0.019", "0.0"]
    assert choose_byte_scale([640]).show_fine(640) == "640"


def test_what_was_measured_has_two_digits_that_count() -> None:
    assert [format_fine(value, digits=2) for value in (1234.5, 9.999, 0.1, 0.00318, 0.0)] == [
        "1,234.50", "10.00", "0.10", "0.0032", "0.00",
    ]  # fmt: skip
    assert [format_fine(value, digits=0) for value in (1234.5, 12.3, 3.4, 0.04)] == ["1,234", "12", "3.4", "0.040"]


@pytest.mark.parametrize(("size", "text"), [(12, "12 B"), (1536, "1.5 KiB"), (60 * 2**20, "60.0 MiB")])
def test_bytes_print_with_binary_prefixes(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.2, "4.2 s"), (59.7, "1 min 00 s"), (65, "1 min 05 s"), (3725, "1 h 02 min"), (90000, "1 d 01 h")],
)
def test_durations_print_in_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_share_is_100_percent_only_where_it_is_whole() -> None:
    assert format_share(10, 10) == format_share(0, 0) == "100"
    assert format_share(10**9 - 1, 10**9) == "99.9"
    assert format_share(983, 1000) == "98.3"
