"""Where a run is, and what it says of itself."""

import pytest

from metadcseg.training.run.state import TrainerState


@pytest.mark.parametrize(
    ("epoch", "best", "epochs", "says"),
    [
        (0, None, 3, "will not leave its warm-up: training has 3 epochs, and it takes the first 3"),
        (3, 1, 3, None),  # said before
        (0, None, 8, None),
        (5, 1, 8, None),  # it may still get better
        (8, 2, 8, "the epoch that is kept, 3, lies in the warm-up of condseg (3 epochs)"),
        (8, 3, 8, None),
        (8, None, 8, None),  # without validation the last epoch is kept
    ],
)
def test_a_model_that_is_all_warm_up_is_told_of(epoch, best, epochs, says):
    state = TrainerState(epoch=epoch, best=None if best is None else {"epoch": best, "dsc": 0.5})
    said = state.warmup_in_words("condseg", 3, epochs)
    assert said == says or says in said
