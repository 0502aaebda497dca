"""The door: the list of public names, what each of them says of itself, and what it costs to come in."""

import ast
import doctest
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.unit.data.folders import picture, save

import metadcseg
from metadcseg import functional


def words(text):
    return text.split()


NAMES = words(
    """
functional DynamicCenterDistance PixelWeights BinnedWeights
Batch WeightMaps Warp IGNORE
METHODS create_method Calibrated MetaDCSeg Binned L2B Supervised NetworkOptions create_network attach
check_folder prepare_folder PreparedSet corrupt_set
TrainingOptions train evaluate_run predict_images load score_labels
audit_run find_label_issues
InputError __version__
"""
)

FUNCTIONS = words(
    """
pixel_cross_entropy pseudo_labels initial_weights weighted_pixel_loss mean_over_pixels
trainable gradient_of virtual_step gold_gradient pixel_gradients meta_gradients PixelGradients
update_weights normalize_weights
foreground_probability decompose_regions Regions region_centers Centers dynamic_center_distance boundary_weights
effective_pixels soft_dice_loss total_objective Objective rotate morph ellipse corruption_rate
"""
)

WITHOUT_EXAMPLE = {"PixelWeights", "BinnedWeights", "gold_gradient", "pixel_gradients", "meta_gradients"}
"""They need a network or storage about them: examples/own_loop.py shows them at work."""

VALUES = {"IGNORE", "METHODS", "__version__"}  # no function and no class: described where they are defined
PAGE = Path(metadcseg.__file__).read_text()


def fresh(code):
    """Run code in a process of its own and return what it prints."""
    here = {**os.environ, "PYTHONPATH": str(Path(metadcseg.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=here)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_list_of_public_names():
    assert sorted(metadcseg.__all__) == sorted(NAMES)
    assert functional.__all__ == FUNCTIONS
    assert set(NAMES) <= set(dir(metadcseg))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_says_what_it_is(name):
    found = getattr(metadcseg, name)
    if name in VALUES:
        return
    text = inspect.getdoc(found)
    assert text
    assert (">>>" in text) != (name in WITHOUT_EXAMPLE), f"{name} needs an example"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_equation_says_its_arguments_shapes_and_an_example(name):
    found = getattr(functional, name)
    text = inspect.getdoc(found)
    assert text
    assert re.search(r"\((N|H|C|L|K)\b[^)]*\)|scalar|parameter name", text), "shapes"
    if inspect.isfunction(found):
        assert (">>>" in text) != (name in WITHOUT_EXAMPLE), f"{name} needs an example"
        if len(inspect.signature(found).parameters) > 2:
            assert "Args:" in text


def test_type_checkers_read_the_same_page():
    block = next(node for node in ast.parse(PAGE).body if isinstance(node, ast.If))
    homes = {}
    for line in block.body:
        if isinstance(line, ast.ImportFrom):
            homes |= {alias.asname: line.module for alias in line.names}
    homes["functional"] = "metadcseg.functional"
    assert homes == dict(metadcseg._HOMES.items())


def test_a_name_that_is_not_public_is_told_with_the_list():
    with pytest.raises(AttributeError, match=r"no attribute 'trian' .*train"):
        metadcseg.trian  # noqa: B018


def test_the_page_can_be_read_at_one_sitting():
    assert len(PAGE.splitlines()) <= 120
    assert len(NAMES) <= 35


def test_coming_in_is_cheap():
    command = [sys.executable, "-X", "importtime", "-c", "import metadcseg"]
    times = []
    for _ in range(7):  # the best of some: other processes only make it slower
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()
        times.append(int(next(line for line in lines if line.endswith("| metadcseg")).split("|")[1]) / 1e6)
    assert min(times) < 0.1


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A folder of 24 images, 3 of them verified, as the examples of the page have it."""
    root = tmp_path_factory.mktemp("house")
    y, x = np.mgrid[:48, :64]
    for number in range(24):
        mask = (np.hypot(y - 20 - number % 5, x - 30 + number % 7) < 9 + number % 6).astype(np.uint8)
        image = picture(number, 48, 64) // 4 + 120 * mask[:, :, None]
        save(root / "my_folder/images" / f"case{number:02d}.png", image)
        save(root / "my_folder/masks" / f"case{number:02d}.png", mask * 255)
        if number < 3:
            save(root / "my_folder/gold" / f"case{number:02d}.png", mask * 255)
    save(root / "new_images/a.png", picture(99, 48, 64))
    return root


def test_the_examples_that_need_files_run_one_after_the_other(house, monkeypatch):
    """In the order of the page: check, prepare, read, corrupt, train, evaluate, predict."""
    monkeypatch.chdir(house)
    names = ["check_folder", "prepare_folder", "PreparedSet", "corrupt_set", "train", "evaluate_run"]
    known = {name: getattr(metadcseg, name) for name in NAMES} | {"Path": Path}
    for name in [*names, "predict_images", "load"]:
        text = inspect.getdoc(getattr(metadcseg, name)).replace("  # doctest: +SKIP", "")
        example = doctest.DocTestParser().get_doctest(text, dict(known), name, None, None)
        assert example.examples, name
        runner = doctest.DocTestRunner()
        runner.run(example)
        assert runner.summarize(verbose=False).failed == 0, name
    reading = (
        "import sys, metadcseg; prepared = metadcseg.PreparedSet.open('my_set');"
        "case = prepared.select('gold')[0]; prepared.image(case); prepared.label(case); prepared.verify();"
        "print('torch' in sys.modules)"
    )
    assert fresh(reading) == "False"


@pytest.mark.parametrize(
    "name", ["check_folder", "prepare_folder", "corrupt_set", "score_labels", "InputError"]
)
def test_what_works_on_files_and_arrays_does_not_load_torch(name):
    assert fresh(f"import sys, metadcseg; metadcseg.{name}; print('torch' in sys.modules)") == "False"


def test_importing_the_package_imports_nothing_else_of_it():
    code = "import sys, metadcseg; print([name for name in sys.modules if name.startswith('metadcseg.')])"
    assert fresh(code) == "[]"
    assert importlib.util.find_spec("metadcseg.functional") is not None
