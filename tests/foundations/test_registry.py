import pytest

from vtbench.registry import Registry, UnknownNameError


def test_a_registered_name_is_found() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.add("square", 4)
    assert shapes["square"] == 4
    assert list(shapes) == ["square"]
    assert "square" in shapes


def test_a_duplicate_name_raises() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.add("square", 4)
    with pytest.raises(ValueError, match="'square' is registered already"):
        shapes.register("square")(5)
    assert shapes["square"] == 4


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    shapes: Registry[int] = Registry("shape")
    shapes.add("square", 4)
    shapes.add("triangle", 3)
    with pytest.raises(UnknownNameError, match=r"There is no shape named 'sqare'. Did you mean 'square'\?"):
        shapes["sqare"]
