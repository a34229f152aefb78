"""The versions of torch and torchvision that the README names are those that the package takes."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
TAKEN = {found.name: found.specifier for found in map(Requirement, PROJECT["dependencies"])}

pytestmark = pytest.mark.parametrize("package", ["torch", "torchvision"])


def list_tested(package: str) -> list[str]:
    """The versions of ``package`` that the README calls tested, oldest first."""
    return sorted(set(re.findall(rf"\b{package} (\d[\d.]*\d)", README)), key=Version)


def test_the_readme_states_the_range_that_the_package_takes(package: str) -> None:
    (stated,) = (
        found for text in re.findall(r"`(torch[^`]*[<>][^`]*)`", README) if (found := Requirement(text)).name == package
    )
    assert stated.specifier == TAKEN[package]


def test_the_range_begins_with_the_oldest_version_that_was_tested_and_ends_after_the_newest(package: str) -> None:
    oldest, newest = list_tested(package)
    lower, upper = sorted(TAKEN[package], key=lambda bound: bound.operator, reverse=True)
    assert (lower.operator, lower.version, upper.operator) == (">=", oldest, "<")
    major, minor, _ = Version(newest).release
    assert upper.version == f"{major}.{minor + 1}"


def test_the_tests_run_on_a_version_that_the_package_takes(package: str) -> None:
    assert version(package) in TAKEN[package]
