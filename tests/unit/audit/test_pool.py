"""Table and network as one opinion."""

import numpy as np
import pytest

from metadcseg.audit.pool import pooled


@pytest.mark.parametrize("weight", [0.0, 0.8, 1.0])
def test_what_the_table_does_not_doubt_is_sure_and_the_rest_is_as_if_alone(weight):
    rng = np.random.default_rng(4)
    table = np.zeros((3, 3, 2), np.float32)
    table[1, 0], table[2, 0, 0], table[2, 1, 1] = (0.3, 0.0), 0.2, 0.4  # class 0 is never doubted
    given, bins = rng.integers(0, 3, 500), rng.integers(0, 2, (3, 500))
    network = rng.dirichlet(np.ones(3), 500).T.astype(np.float32)
    odds = np.array([[0, 1, 1], [0.5, 0, 0], [-1, 2, 0]], np.float32)
    before = network.copy()
    found = pooled(table, given, bins, network, weight, odds)
    doubt = sum(table[given, r, bins[r]] for r in range(3))
    assert 0 < (doubt > 0).sum() < 500
    for pixel in range(500):
        if doubt[pixel]:
            one = slice(pixel, pixel + 1)
            alone = pooled(table, given[one], bins[:, one], network[:, one], weight, odds)
            np.testing.assert_allclose(found[:, one], alone, rtol=1e-6)
        else:
            assert found[:, pixel].tolist() == np.eye(3)[given[pixel]].tolist()
    np.testing.assert_array_equal(network, before)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-6)
