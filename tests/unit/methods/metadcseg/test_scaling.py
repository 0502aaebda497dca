import numpy as np
import pytest
import torch
from tests.reference import meta_weights as slow
from tests.unit.algorithm.test_meta_weights import EVERY, gradients, some_valid

from metadcseg.errors import InputError
from metadcseg.methods.metadcseg.scaling import scale_gradients
from metadcseg.tensors import PixelGradients


def test_rms_equals_the_loop_image_by_image() -> None:
    step, valid = gradients(), some_valid()
    step = PixelGradients(step.alpha.masked_fill(~valid, torch.nan), step.beta * 1e-3)
    got = scale_gradients(step, "rms", valid)
    for i in range(2):
        rms = slow.root_mean_square(step.alpha[i].numpy(), step.beta[i].numpy(), valid[i].numpy())
        for name in ("alpha", "beta"):
            expected = np.where(valid[i], getattr(step, name)[i] / rms, 0.0)
            np.testing.assert_allclose(getattr(got, name)[i].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20])
def test_the_size_of_the_gradient_does_not_matter(scale: float) -> None:
    step = gradients()
    small = PixelGradients((step.alpha * scale).float(), (step.beta * scale).float())
    plain = PixelGradients(step.alpha.float(), step.beta.float())
    got, expected = (scale_gradients(one, "rms", EVERY) for one in (small, plain))
    torch.testing.assert_close(got.alpha, expected.alpha, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(got.beta, expected.beta, rtol=1e-5, atol=1e-6)


def test_an_all_zero_gradient_stays_zero() -> None:
    zero = PixelGradients(torch.zeros(2, 4, 5), torch.zeros(2, 4, 5))
    got = scale_gradients(zero, "rms", EVERY)
    assert (got.alpha == 0).all()
    assert (got.beta == 0).all()


def test_pixels_that_are_not_valid_do_not_matter() -> None:
    step, valid = gradients(), some_valid()
    wild = PixelGradients(torch.where(valid, step.alpha, 1e6), torch.where(valid, step.beta, -1e6))
    got, same = (scale_gradients(one, "rms", valid) for one in (step, wild))
    assert torch.equal(got.alpha, same.alpha)
    assert torch.equal(got.beta, same.beta)


def test_as_printed_nothing_is_scaled_and_other_names_get_the_nearest() -> None:
    step = gradients()
    assert scale_gradients(step, "none", EVERY) is step
    with pytest.raises(InputError, match="'rms'"):
        scale_gradients(step, "rmss", EVERY)  # type: ignore[arg-type]
