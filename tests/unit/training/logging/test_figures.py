from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from metadcseg.colors import GIVEN
from metadcseg.methods.base import StepReport
from metadcseg.tensors import IGNORE, Batch, WeightMaps
from metadcseg.training.logging.figures import Picture, SampleFigure, draw
from metadcseg.warp import Warp


def picture(channels=1, label=0, maps=False):
    labels = torch.full((8, 8), label)
    labels[2:5, 2:5] = 1
    labels[:, 7] = IGNORE
    image = torch.rand(channels, 8, 8, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(8, 8) if maps else None
    return Picture(image, labels, weights, weights)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("maps", [False, True])
def test_any_sample_can_be_drawn(channels, classes, maps):
    pictures = [picture(channels, maps=maps), picture(channels, label=1, maps=maps)]
    probabilities = torch.rand(2, classes, 8, 8).softmax(dim=1)
    png, pixels = draw(pictures, probabilities, "title")
    assert np.array_equal(np.asarray(Image.open(BytesIO(png)).convert("RGB")), pixels)


def test_names_of_any_kind_stand_below_their_sample():
    named = replace(picture(), name="$\\bad{ \udce4 ../\n" + "x" * 200)
    probabilities = torch.zeros(1, 2, 8, 8)
    png, pixels = draw([named], probabilities, "$\\also bad$")
    assert png.startswith(b"\x89PNG")
    assert not np.array_equal(pixels, draw([picture()], probabilities, "$\\also bad$")[1])


def test_a_constant_image_with_nothing_on_it():
    flat = Picture(torch.zeros(1, 8, 8), torch.zeros(8, 8, dtype=torch.int64))
    draw([flat], torch.tensor([1.0, 0.0])[None, :, None, None].expand(1, 2, 8, 8), "empty")


def test_the_outline_is_there_and_the_weights_outside_the_image_are_not():
    with_label = draw([picture()], torch.zeros(1, 2, 8, 8), "t")[1]
    without = draw(
        [Picture(picture().image, torch.zeros(8, 8, dtype=torch.int64))], torch.zeros(1, 2, 8, 8), "t"
    )[1]
    top = slice(0, 270)  # above the legend
    outline = (np.abs(with_label[top].astype(int) - GIVEN) < 30).all(axis=2)
    assert outline.sum() > 50
    assert not (np.abs(without[top].astype(int) - GIVEN) < 30).all(axis=2).any()
    legend = (np.abs(without.astype(int) - GIVEN) < 30).all(axis=2)
    assert legend.any()


def batch(*indices):
    count = len(indices)
    labels = torch.zeros(count, 4, 4, dtype=torch.int64)
    return Batch(
        torch.full((count, 1, 4, 4), float(indices[0])), labels, torch.tensor(indices), Warp.identity(count)
    )


def test_a_few_fixed_samples_are_caught_once():
    names = [f"case {number}" for number in range(8)]
    book = SampleFigure(names)  # wants 0, 2, 4, 6
    ones = torch.ones(2, 4, 4)
    book.watch(batch(6, 1), StepReport({}, WeightMaps(ones, 2 * ones)))
    book.watch(batch(0, 6), StepReport({}))
    kept = book.pictures()
    assert [int(p.image[0, 0, 0]) for p in kept] == [0, 6]
    assert [p.name for p in kept] == ["case 0", "case 6"]
    assert kept[0].alpha is None
    assert torch.equal(kept[1].beta, 2 * ones[0])
    other = SampleFigure(names)
    other.load_state_dict(book.state_dict())
    assert torch.equal(other.pictures()[1].image, kept[1].image)
    saved = BytesIO()
    torch.save(kept[1].image, saved)
    alone = BytesIO()
    torch.save(kept[1].image.clone(), alone)
    assert len(saved.getvalue()) == len(alone.getvalue())  # not its whole batch
    book.clear()
    assert book.pictures() == []
