"""Where a run is, and what it says of itself."""

import pytest
import torch

from metadcseg.training.run.state import Scores, TrainerState


@pytest.mark.parametrize(
    ("epoch", "best", "epochs", "says"),
    [
        (
            0,
            None,
            3,
            "training has 3 epochs, and it takes the first 3: shorten condseg.late, or",
        ),
        (0, None, 1, "training has 1 epoch, and"),
        (3, 1, 3, None),  # said before
        (0, None, 8, None),
        (5, 1, 8, None),  # it may still get better
        (8, 2, 8, "the epoch that is kept, 3, lies in the warm-up of condseg (condseg.late, 3 epochs)"),
        (8, 3, 8, None),
        (8, None, 8, None),  # without validation the last epoch is kept
    ],
)
def test_a_model_that_is_all_warm_up_is_told_of(epoch, best, epochs, says):
    state = TrainerState(epoch=epoch, best=None if best is None else {"epoch": best, "dsc": 0.5})
    said = state.warmup_in_words("condseg", 3, epochs, "late")
    assert said == says or says in said


def test_an_epoch_of_an_early_stage_is_kept_only_until_the_next_stage_is_scored():
    state, network, kept = TrainerState(), torch.nn.Linear(1, 1), []
    for epoch, dsc in enumerate([0.6, 0.9, 0.5, 0.5, 0.7]):
        state.epoch = epoch
        state.offer(Scores(dsc, dsc, 1), network, kept_from=2)
        kept.append(state.best["epoch"])
    assert kept == [0, 1, 2, 2, 4]
