"""Weight maps: over the image, with the verified outline, on one scale, and only where there is something to see."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from tests.unit.report.folders import ROWS, Folder, made_scores, task

from metadcseg.colors import VERIFIED
from metadcseg.report.learned_figures import distance_figures, map_galleries
from metadcseg.results.read_benchmark import read_benchmark


def opened(link):
    content = base64.b64decode(link.partition(",")[2])
    return np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def galleries(tmp_path, **maps):
    """The galleries of one run whose maps were replaced by gray levels of our own."""
    folder = Folder(tmp_path)
    home = folder.add(task(), scores=made_scores(0.5), weights={"gamma": [1.0] * 11})
    folder.add(task(row="noisy + gold"), scores=made_scores(0.5))
    for name, values in maps.items():
        Image.fromarray(values.astype(np.uint8)).save(home / "evaluation" / "weights" / f"0-{name}.png")
    missing = []
    found = map_galleries(read_benchmark(folder.write()), 2, missing)
    assert not missing
    return found


def test_files_of_a_row_with_a_long_name_have_short_names(tmp_path):
    folder = Folder(tmp_path)
    for end in "ab":  # of a benchmark that an earlier version ran
        run = {"method": ROWS["metadcseg"], "scores": made_scores(0.5), "weights": {"gamma": [1.0] * 11}}
        folder.add(task(row="x" * 220 + end), **run)
    record = read_benchmark(folder.write())
    names = [gallery.key for gallery in map_galleries(record, 2, [])]
    names += [plot.key for plot, _ in distance_figures(record, [])]
    assert len(set(names)) == 4
    assert max(map(len, names)) < 150


def ramp(low, high):
    return np.linspace(low, high, 24 * 24).reshape(24, 24)


def test_a_constant_map_is_not_shown_and_that_is_said(tmp_path):
    (gallery,) = galleries(tmp_path, alpha=ramp(0, 127), beta=ramp(127, 0))
    (example,) = gallery.examples
    assert [picture.name for picture in example.pictures] == ["label given", "α", "β"]
    assert "γ is 1.00 everywhere, and so not shown." in gallery.legend
    assert gallery.title.startswith("metadcseg")  # the row without weights repeats nothing


@pytest.mark.parametrize(("largest", "top"), [(127, "1"), (254, "2 and more")])
def test_all_maps_share_a_scale_that_holds_the_largest_weight(tmp_path, largest, top):
    (gallery,) = galleries(tmp_path, alpha=ramp(0, 127), beta=ramp(0, 60), gamma=ramp(20, largest))
    link, low, high = gallery.scale
    assert (low, high) == ("0", top)
    bar = opened(link)
    assert bar[0, 0].sum() < 20
    assert bar[0, -1].sum() > 500
    shown = {picture.name: opened(picture.link) for picture in gallery.examples[0].pictures}
    assert list(shown) == ["label given", "γ", "α", "β"]
    # the same weight has the same color in every map: alpha's end at 127 is as bright as gamma's only at one scale
    ends = [shown[name][-6:-2, -6:-2].mean() for name in ("α", "β")]
    assert ends[0] > ends[1]


def test_maps_lie_over_the_image_with_the_verified_outline_alone(tmp_path):
    flat = np.full((24, 24), 127)
    flat[0, 0] = 0
    image = np.zeros((24, 24))
    image[:, 12:] = 255
    (gallery,) = galleries(tmp_path, alpha=flat, image=image)
    alpha = opened(next(p.link for p in gallery.examples[0].pictures if p.name == "α"))
    assert alpha[100, 250].sum() > alpha[100, 20].sum() + 50  # the image shows through
    green = np.abs(alpha - np.array(VERIFIED)).sum(axis=2) < 60
    assert green.any()
