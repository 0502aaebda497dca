"""Tiny sets and runs made by the command itself, shared by all end-to-end tests (which only read them)."""

from types import SimpleNamespace

import pytest
from tests.end_to_end.tools import done, train


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    """A clean phantom set of 24 images and its copy with 40 % label noise."""
    folder = tmp_path_factory.mktemp("sets")
    clean, noisy = folder / "clean", folder / "noisy"
    prepared = done("prepare", "phantom", "--count", 24, "--size", 32, "--gold", 5, "--out", clean, "--json")
    corrupted = done("corrupt", clean, "--rate", 0.4, "--seed", 0, "--out", noisy, "--json")
    return SimpleNamespace(clean=clean, noisy=noisy, prepared=prepared.json, corrupted=corrupted.json)


@pytest.fixture(scope="session")
def run(sets, tmp_path_factory):
    """A run of the default method over two epochs, evaluated on the test cases."""
    folder = tmp_path_factory.mktemp("runs") / "default"
    done(*train(sets.noisy, folder, "--training.figure_every", 2, epochs=2))
    done("evaluate", folder)
    return folder
