"""What the weights of a method say about wrong pixels, against ranks that SciPy gives."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from metadcseg.evaluation import value_counts
from metadcseg.evaluation.noise_detection import _Sums
from metadcseg.evaluation.value_counts import ValueCounts
from metadcseg.tensors import IGNORE, Batch, WeightMaps
from metadcseg.warp import Warp

SIDE, IMAGES, BATCH = 24, 6, 2


def exact(score, wrong):
    ranks, found = rankdata(score), wrong.sum()
    return (ranks[wrong].sum() - found * (found + 1) / 2) / (found * (~wrong).sum())


def judged(folder, alpha, beta, disagreement=None):
    """Return the record of weights (IMAGES, SIDE, SIDE), and which pixels are wrong."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 2, alpha.shape, generator=generator)
    truth = torch.where(torch.rand(alpha.shape, generator=generator) < 0.3, 1 - labels, labels)
    truth[:, 0] = IGNORE
    sums = _Sums()
    for first in range(0, IMAGES, BATCH):
        part = slice(first, first + BATCH)
        images = torch.zeros(BATCH, 1, SIDE, SIDE)
        one = Batch(images, labels[part], torch.arange(IMAGES)[part], Warp.identity(BATCH))
        doubt = (
            torch.rand(alpha[part].shape, generator=generator) if disagreement is None else disagreement[part]
        )
        sums.add(one, truth[part], WeightMaps(alpha[part], beta[part]), doubt, None)
    (folder / "evaluation").mkdir()
    record = sums.record(folder / "evaluation" / "weights", [f"case {number}" for number in range(IMAGES)])
    known = truth != IGNORE
    return record, (labels != truth)[known].numpy(), known


@pytest.mark.parametrize("moved", [3e-7, 1e-5, 0.3])
def test_weights_are_ranked_as_they_are_however_little_they_have_moved(tmp_path, moved):
    generator = torch.Generator().manual_seed(1)
    shape = (IMAGES, SIDE, SIDE)
    alpha = 1 - moved * torch.rand(shape, generator=generator)
    beta = moved * 1e-3 * torch.rand(shape, generator=generator)
    record, wrong, known = judged(tmp_path, alpha, beta)
    a, b = alpha[known].double().numpy(), beta[known].double().numpy()
    told = record["auroc"]
    assert told["alpha"] == pytest.approx(exact(-a, wrong), abs=1e-12)
    assert told["beta - alpha"] == pytest.approx(exact(b - a, wrong), abs=1e-4)  # float32 around 0
    assert told["weight"] == pytest.approx(exact(b / (a + b), wrong), abs=1e-4)
    assert len({told["alpha"], told["weight"], told["both"], 0.5}) == 4
    assert record["pixels"] == len(wrong)
    assert record["wrong_pixels"] == pytest.approx(wrong.mean())


def test_probabilities_that_lie_close_are_told_apart(tmp_path):
    shape = (IMAGES, SIDE, SIDE)
    near_one = 1 - 1e-6 * torch.rand(shape, generator=torch.Generator().manual_seed(2))
    ones = torch.ones(shape)
    record, wrong, known = judged(tmp_path, ones, ones, near_one)
    expected = exact(near_one[known].numpy(), wrong)
    assert record["auroc"]["disagreement"] == pytest.approx(expected, abs=1e-12)


def test_where_beta_is_0_everywhere_its_share_is_no_score(tmp_path):
    alpha = torch.rand((IMAGES, SIDE, SIDE), generator=torch.Generator().manual_seed(4))
    record, _, _ = judged(tmp_path, alpha, torch.zeros_like(alpha))
    assert record["auroc"]["weight"] is None
    assert record["auroc"]["both"] is None
    assert 0 < record["auroc"]["alpha"] < 1


def test_values_are_counted_however_many_there_are_at_a_time(monkeypatch):
    monkeypatch.setattr(value_counts, "_FRESH", 16)
    drawn = np.random.default_rng(0).choice([-np.inf, -1.0, 0.0, 1.0, 1.0 + 2.0**-23], 500)
    counted = ValueCounts()
    for part in np.split(drawn, [3, 4, 90, 90, 300]):
        counted.add(part)
    values, counts = np.unique(drawn, return_counts=True)
    assert counted.values.tolist() == values.tolist()
    assert counted.at(values.astype(np.float32)).tolist() == counts.tolist()
    assert ValueCounts().at(values.astype(np.float32)).tolist() == [0] * 5
