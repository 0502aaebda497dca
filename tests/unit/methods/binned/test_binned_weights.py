"""The shared table: what a cell is, what it learns, and that pixels of one cell are one."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor

from metadcseg.methods.binned.binned_weights import (
    CHANCE,
    EVIDENCE,
    FORGET,
    PRIOR,
    PRIOR_AGREED,
    PROBABILITIES,
    BinnedWeights,
    outline_distance,
)
from metadcseg.methods.binned.prediction import Prediction
from metadcseg.tensors import IGNORE, AllReduceMean, Batch, PixelGradients
from metadcseg.warp import Warp


def batch(labels: Tensor) -> Batch:
    count, *size = labels.shape
    return Batch(
        torch.zeros(count, 1, *size), labels, torch.arange(count), Warp.identity(count, axes=len(size))
    )


def prediction(labels: Tensor, sure: float = 0.9, classes: int = 2) -> Prediction:
    one_hot = torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()
    rest = (1 - sure) / (classes - 1)
    return Prediction(one_hot * (sure - rest) + rest, labels)


def table_of(all_reduce_mean: AllReduceMean = dict, discount_symmetric_noise: bool = False) -> BinnedWeights:
    return BinnedWeights(
        all_reduce_mean, min_runner_up_probability=0.5, discount_symmetric_noise=discount_symmetric_noise
    )


BELIEVED = torch.sigmoid(torch.tensor(PRIOR)).item()
GIVEN = torch.zeros(1, 64, 64, dtype=torch.int64)
GIVEN[:, 16:48, 16:48] = 1  # the annotator draws too much: the network says 20 to 44
SAID = torch.zeros_like(GIVEN)
SAID[:, 20:44, 20:44] = 1


def constant(alpha: float, beta: float) -> PixelGradients:
    return PixelGradients(torch.full(GIVEN.shape, alpha), torch.full(GIVEN.shape, beta))


def test_before_anything_is_known_labels_are_believed() -> None:
    weights = table_of().read(batch(GIVEN), prediction(SAID))
    differ = GIVEN != SAID
    assert torch.equal(weights.alpha[~differ], torch.ones(int((~differ).sum())))
    assert weights.alpha[differ].unique().tolist() == pytest.approx([BELIEVED])
    torch.testing.assert_close(weights.gamma, torch.ones(GIVEN.shape))


@pytest.mark.parametrize(
    ("alpha", "beta", "rises"), [(-1e-12, 1e-12, True), (3.0, -3.0, False), (2.0, 1.0, False)]
)
def test_a_cell_descends_at_a_pace_that_knows_no_size(alpha: float, beta: float, rises: bool) -> None:
    model = table_of()
    z = sums = squares = 0.0
    for step in range(15):
        weights = model.update(batch(GIVEN), prediction(SAID), constant(alpha, beta))
        sums, squares = FORGET * sums + (1 if rises else -1), FORGET * squares + 1
        z = sums / squares**0.5
        if step == 8:  # |z| is just below 3: chance
            assert weights.alpha[GIVEN != SAID].unique().tolist() == pytest.approx([BELIEVED])
    expected = torch.sigmoid(torch.tensor(PRIOR + EVIDENCE * (z - CHANCE if rises else z + CHANCE)))
    torch.testing.assert_close(weights.alpha[GIVEN != SAID], expected.expand(int((GIVEN != SAID).sum())))


def test_what_one_image_teaches_holds_for_another_that_looks_alike() -> None:
    model = table_of()
    for _ in range(20):
        model.update(batch(GIVEN), prediction(SAID), constant(1.0, -1.0))
    moved = [torch.roll(maps, (5, -3), (1, 2)) for maps in (GIVEN, SAID)]
    weights = model.read(batch(moved[0]), prediction(moved[1]))
    assert weights.alpha[moved[0] != moved[1]].max() < 0.2
    missed = model.read(
        batch(moved[1]), prediction(moved[0])
    )  # too small in place of too large: another cell
    assert missed.alpha[moved[0] != moved[1]].min() > 0.8


def test_a_cell_takes_the_mean_of_its_pixels() -> None:
    gradients = torch.zeros(GIVEN.shape)
    ring = (GIVEN != SAID) & (outline_distance(GIVEN) == 0)
    gradients[ring] = torch.linspace(-1, 3, int(ring.sum()))  # mean 1: do not believe
    model, even = table_of(), table_of()
    for _ in range(15):
        weights = model.update(batch(GIVEN), prediction(SAID), PixelGradients(gradients, -gradients))
        expected = even.update(batch(GIVEN), prediction(SAID), constant(1.0, -1.0))
    assert weights.alpha[ring].max() < BELIEVED - 0.1
    torch.testing.assert_close(weights.alpha[ring], expected.alpha[ring])
    others = (GIVEN != SAID) & ~ring
    told = weights.alpha[others].unique().tolist()
    assert told == pytest.approx([BELIEVED])  # a gradient of 0 says nothing


@pytest.mark.parametrize(
    ("missed", "pardoned"),
    [(0.0, False), (1.0, True), (-1.0, False)],
    ids=["unknown", "both ways", "one way"],
)
def test_distrust_that_opposite_mistakes_share_is_taken_back(missed: float, pardoned: bool) -> None:
    """Half of the images are outlined too large, half too small; gold speaks against the former each time."""
    plain, lenient = table_of(), table_of(discount_symmetric_noise=True)
    large, small = (batch(GIVEN), prediction(SAID)), (batch(SAID), prediction(GIVEN))
    for model in (plain, lenient):
        for _ in range(20):
            model.update(*large, constant(1.0, -1.0))
            model.update(*small, constant(missed, -missed))
    differ = (GIVEN != SAID) & (outline_distance(GIVEN) == 0)
    before, after = (model.read(*large).alpha[differ] for model in (plain, lenient))
    assert before.max() < 0.2
    if pardoned:
        assert after.min() > 0.7
    else:
        torch.testing.assert_close(after, before)


def test_a_rare_opposite_pardons_in_proportion() -> None:
    """Ten pixels too much for one too little, in mirrored cells: a tenth is taken back."""
    given, said = GIVEN.clone(), GIVEN.clone()
    given[:, 15, 20:30] = 1  # ten pixels beyond
    missed = GIVEN.clone()
    missed[:, 15, 20:21] = 1  # one pixel left out
    plain, lenient = table_of(), table_of(discount_symmetric_noise=True)
    for model in (plain, lenient):
        for _ in range(15):
            model.update(batch(given), prediction(said), constant(1.0, -1.0))
        for _ in range(15):
            model.update(batch(GIVEN), prediction(missed), constant(1.0, -1.0))
    kept = FORGET**15  # the former were met fifteen updates ago, ten at a time
    place = (given != said) & (outline_distance(given) == 0)
    evidence, after = (
        torch.logit(model.read(batch(given), prediction(said)).alpha[place][0].double()) - PRIOR
        for model in (plain, lenient)
    )
    assert evidence < -2
    assert (after / evidence).item() == pytest.approx(1 - 1 / (10 * kept), rel=1e-3)


def test_several_classes_have_cells_of_their_own() -> None:
    given, said = GIVEN * 2, SAID.clone()
    model = table_of()
    for _ in range(12):
        model.update(batch(given), prediction(said, classes=3), constant(1.0, -1.0))
    alpha = model.table
    assert alpha.shape[:2] == (3, 3)
    fresh = torch.full((PROBABILITIES, 1), PRIOR)
    fresh[PROBABILITIES // 2 :] = PRIOR_AGREED
    touched = (alpha != torch.sigmoid(fresh)).flatten(2).any(2)
    assert touched.nonzero().tolist() == [[2, 0], [2, 1]]


def test_ignored_pixels_teach_nothing_and_make_no_outline() -> None:
    given = GIVEN.clone()
    given[:, :, 32:] = IGNORE
    model = table_of()
    before = model.read(batch(given), prediction(SAID)).alpha
    assert torch.equal(before[given == IGNORE], torch.ones(int((given == IGNORE).sum())))
    gradients = torch.where(given == IGNORE, 5.0, 0.0)
    for _ in range(15):
        after = model.update(batch(given), prediction(SAID), PixelGradients(gradients, -gradients)).alpha
    assert torch.equal(before, after)
    middle = torch.full((1, 64, 64), 1)
    middle[:, :, 32:] = IGNORE
    assert outline_distance(middle)[given != IGNORE].min() == 5


def test_state_comes_back_and_goes_on_alike() -> None:
    one, two = table_of(discount_symmetric_noise=True), table_of(discount_symmetric_noise=True)
    fresh = one.read(batch(GIVEN), prediction(SAID))
    for _ in range(15):
        one.update(batch(GIVEN), prediction(SAID), constant(1.0, 0.0))
    two.load_state_dict(one.state_dict())
    few = SAID.clone()
    few[:, :, :32] = GIVEN[:, :, :32]
    for model in (one, two):
        for _ in range(15):
            model.update(batch(few), prediction(GIVEN), constant(0.3, 0.1))
    assert torch.equal(one.table, two.table)
    assert one.read(batch(GIVEN), prediction(SAID)).alpha.min() < fresh.alpha.min() - 0.1


def test_two_devices_learn_what_one_would() -> None:
    """One device meets images outlined too large, the other one half of one that is too small."""
    few = SAID.clone()
    few[:, :, :32] = GIVEN[:, :, :32]
    parts = [(GIVEN, SAID), (few, GIVEN)]
    barrier, held = Barrier(2), {}

    def device(rank: int) -> Tensor:
        def mean(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            held[rank] = tensors
            barrier.wait(timeout=60)
            found = {name: (held[0][name] + held[1][name]) / 2 for name in tensors}
            barrier.wait(timeout=60)
            return found

        model, (given, said) = table_of(mean, discount_symmetric_noise=True), parts[rank]
        for _ in range(20):
            model.update(batch(given), prediction(said), constant(1.0, -0.5))
        return model.table

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(device, range(2))
    alone = table_of(discount_symmetric_noise=True)
    given, said = (torch.cat(maps) for maps in zip(*parts, strict=True))
    both = PixelGradients(torch.ones(given.shape), torch.full(given.shape, -0.5))
    for _ in range(20):
        alone.update(batch(given), prediction(said), both)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone.table)


@pytest.mark.parametrize("axes", [2, 3])
def test_distance_counts_steps_to_the_nearest_other_class(axes: int) -> None:
    size = (64,) * axes
    labels = torch.zeros(1, *size, dtype=torch.int64)
    labels[(slice(None), *(slice(20, 40),) * axes)] = 1
    found = outline_distance(labels)
    middle = (0, *(30,) * (axes - 1))
    assert found[middle][[10, 19, 20, 21, 22, 23, 24, 25, 26, 30]].tolist() == [5, 0, 0, 0, 1, 2, 3, 3, 4, 5]
    assert outline_distance(torch.zeros(1, *(128,) * 2, dtype=torch.int64)).min() == 5
