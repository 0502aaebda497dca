import pytest
import torch

from metadcseg.methods.binned.gradient_average import RunningMean


def test_the_mean_has_no_bias_of_its_start() -> None:
    mean, seen = RunningMean(0.9), [torch.tensor([float(n), -1.0]) for n in (4, 1, 7)]
    for gradient in seen:
        got = mean.update({"weight": gradient})["weight"]
    shares = torch.tensor([0.81, 0.9, 1.0])
    expected = sum(share * value for share, value in zip(shares, seen, strict=True)) / shares.sum()
    torch.testing.assert_close(got, expected)


def test_without_momentum_nothing_is_kept() -> None:
    mean, gradient = RunningMean(0.0), {"weight": torch.ones(3)}
    assert mean.update(gradient) == gradient
    assert mean.state_dict() == {"sums": {}, "weight": 0.0}


def test_saved_and_restored_it_goes_on() -> None:
    one, other = RunningMean(0.5), RunningMean(0.5)
    one.update({"weight": torch.tensor(2.0)})
    other.load_state_dict(one.state_dict())
    next_ones = [mean.update({"weight": torch.tensor(5.0)})["weight"] for mean in (one, other)]
    assert next_ones[0] == next_ones[1] == pytest.approx(4.0)
