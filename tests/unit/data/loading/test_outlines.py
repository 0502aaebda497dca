"""Training on what each annotator drew: nobody's mask is left out, and what is shown says whose it is."""

import numpy as np
import pytest
import torch

from metadcseg.data.loading.batches import epoch_batches
from metadcseg.data.loading.outlines import OutlinesDataset
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.errors import InputError

NAMES = ("anna", "ben", "cleo")


def rows(count):
    """A mask with so many rows of foreground."""
    return (np.arange(16)[:, None] < np.full((16, 16), count)).astype(np.uint8)


def write(out, *, annotated=True, source=None):
    """Whoever draws fills as many rows as his number in ``NAMES`` from 1; of the last image nobody is known."""
    drawn = {name: rows(number) for number, name in enumerate(NAMES, start=1)}
    with SetWriter(
        out, name="rows", classes=("background", "organ"), channels=1, source=source or {}
    ) as writer:
        for role, id in (("train", "a"), ("train", "b"), ("train", "c"), ("gold", "g")):
            known = drawn if id != "b" else {name: drawn[name] for name in NAMES[:2]}
            held = {"outlines": known} if annotated and id != "c" else {}
            held |= {"label": rows(9), "given": rows(2)} if role == "gold" else {"label": rows(5)}
            writer.add(id=id, role=role, group=id, image=np.zeros((16, 16, 1), np.uint8), **held)
    return PreparedSet.open(out)


def test_every_outline_is_shown_in_some_epoch_and_says_whose_it_is(tmp_path):
    view = OutlinesDataset(write(tmp_path / "set"), "train", 16, seed=3)
    shown = {id: set() for id in view.ids}
    for epoch in range(24):
        for row, id in enumerate(view.ids):
            sample = view.sample(row, epoch)
            assert torch.equal(
                sample.label, view.sample(row, epoch).label
            )  # the same epoch, the same annotator
            count = int(sample.label[:, 0].sum())
            who = [name for name, drew in zip(NAMES, sample.annotators.tolist(), strict=True) if drew]
            assert who == ([] if id == "c" else [NAMES[count - 1]])
            shown[id].add(count)
    assert shown == {"a": {1, 2, 3}, "b": {1, 2}, "c": {5}}


def test_of_gold_the_mask_that_was_replaced_is_drawn_and_the_verified_one_stays(tmp_path):
    view = OutlinesDataset(write(tmp_path / "set"), "gold", 16, seed=3, pairs=True)
    samples = [view.sample(0, epoch) for epoch in range(12)]
    assert {int(sample.label[:, 0].sum()) for sample in samples} == {9}
    assert {int(sample.given[:, 0].sum()) for sample in samples} == {1, 2, 3}
    assert all(int(s.annotators.int().argmax()) + 1 == int(s.given[:, 0].sum()) for s in samples)
    alone = OutlinesDataset(view._prepared, "gold", 16, seed=3)  # a method that asks for no pairs
    assert alone.sample(0, 0).given is None
    assert not alone.sample(0, 0).annotators.any()
    (batch,) = epoch_batches(view, epoch=0, batch=1)
    assert batch.annotators.shape == (1, 3)


def test_what_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"knows what annotators drew.*take 'fused'"):
        OutlinesDataset(write(tmp_path / "plain", annotated=False), "train", 16)
    agreed = write(tmp_path / "agreed", source={"confidence": "agreement"})
    with pytest.raises(InputError, match="without --confidence"):
        OutlinesDataset(agreed, "train", 16)
