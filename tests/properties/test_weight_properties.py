"""What holds of the meta-weights for any numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metadcseg.algorithm.boundary import decompose_regions
from metadcseg.algorithm.meta_weights import normalize_weights, update_weights
from metadcseg.methods.metadcseg.scaling import scale_gradients
from metadcseg.tensors import PixelGradients, WeightMaps

SETTINGS = settings(max_examples=50, deadline=None, derandomize=True)
SHAPE = (2, 3, 4)
TRUST = arrays(np.float32, SHAPE, elements=st.floats(0, 1000, width=32, allow_subnormal=False))
SLOPES = arrays(np.float32, SHAPE, elements=st.floats(-1e6, 1e6, width=32))
MASKS = arrays(np.bool_, SHAPE)


def tensors(*given):
    return [torch.from_numpy(array) for array in given]


@SETTINGS
@given(TRUST, TRUST, SLOPES, SLOPES, MASKS, st.floats(0, 10), st.sampled_from(["rms", "none"]))
def test_updated_weights_are_finite_and_not_negative(alpha, beta, down, up, valid, eta, scaling):
    alpha, beta, down, up, valid = tensors(alpha, beta, down, up, valid)
    step = scale_gradients(PixelGradients(down, up), scaling, valid)
    got = update_weights(WeightMaps(alpha, beta), step, eta=eta, valid=valid)
    for before, after in ((alpha, got.alpha), (beta, got.beta)):
        assert after.isfinite().all()
        assert (after >= 0).all()
        assert torch.equal(after[~valid], before[~valid])
    if scaling == "rms":  # no pixel moves further than if it had all the gradient
        limit = eta * (2 * valid.sum(dim=(1, 2))).sqrt().view(-1, 1, 1)
        assert ((got.alpha - alpha).abs() <= limit * 1.001 + 1e-3).all()


@SETTINGS
@given(TRUST, TRUST, MASKS, st.sampled_from(["image", "batch", "complementary"]))
def test_normalized_weights_average_one_over_what_counts(alpha, beta, valid, mode):
    alpha, beta, valid = tensors(alpha, beta, valid)
    got = normalize_weights(WeightMaps(alpha, beta), mode, valid)
    assert got.gamma.isfinite().all()
    assert (got.alpha >= 0).all()
    assert (got.beta >= 0).all()
    assert (got.gamma[~valid] == 0).all()
    if mode == "complementary":
        assert got.gamma[valid].tolist() == pytest.approx([1.0] * int(valid.sum()), rel=1e-5)
        return
    groups = [(got.gamma, valid)] if mode == "batch" else zip(got.gamma, valid, strict=True)
    for gamma, counted in groups:
        if counted.any():
            assert gamma[counted].mean().item() == pytest.approx(1.0, rel=1e-5)


@SETTINGS
@given(
    arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32)),
    MASKS,
    MASKS,
    st.one_of(
        st.fixed_dictionaries({"ratio": st.floats(0, 1)}),
        st.fixed_dictionaries({"tau": st.floats(0.5, 0.99)}),
    ),
)
def test_regions_cover_the_valid_pixels_and_overlap_in_edges_only(probability, edges, valid, threshold):
    probability, edges, valid = tensors(probability, edges, valid)
    got = decompose_regions(probability, edges=edges, valid=valid, **threshold)
    assert not (got.foreground & got.background).any()
    assert torch.equal(got.foreground | got.background | got.boundary, valid)
    assert not (got.boundary & (got.foreground | got.background) & ~edges).any()
    assert (got.boundary | ~(edges & valid)).all()
    if "ratio" in threshold:
        band = decompose_regions(probability, valid=valid, **threshold).boundary
        allowed = (threshold["ratio"] * valid.sum(dim=(1, 2))).round()
        assert (band.sum(dim=(1, 2)) <= allowed).all()
        for i in range(len(band)):  # nothing outside is less certain than anything inside
            certainty = (probability[i] - 0.5).abs()
            inside, outside = certainty[band[i]], certainty[valid[i] & ~band[i]]
            if len(inside) and len(outside):
                assert inside.max() < outside.min()
