"""Any order of writing, saving, failing, crashing and going on: what a checkpoint says is what the maps hold."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from metadcseg.errors import InputError
from metadcseg.training.pixel_store.pixel_maps import FilePixelMaps, RunStorage

IMAGES = st.integers(0, 2)
VALUES = st.integers(1, 100)
FINITE = st.floats(-65504, 65504, width=16)


def opened(folder: Path) -> RunStorage:
    return RunStorage(folder, 3, (1, 1))


def held(storage: RunStorage) -> list[float]:
    return storage.open("alpha").read(range(3)).flatten().tolist()


class Crashes(RuleBasedStateMachine):
    """One process after another works on the same folder; ``disk`` is what checkpoints/ would hold.

    Each entry of ``disk``, the newest first, pairs a saved state with the numbers that it must bring back, as
    parameters and weights are paired.
    """

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.storage, self.now, self.disk = opened(self.folder), [0.0] * 3, []

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(image=IMAGES, value=VALUES)
    def write(self, image, value):
        self.storage.open("alpha").write([image], torch.full((1, 1, 1), float(value)))
        self.now[image] = float(value)

    @rule()
    def save(self):
        self._replace_last(self.storage.state_dict())
        self.storage.saved()

    @rule()
    def fail_to_save(self):
        self.storage.state_dict()

    @rule()
    def crash(self):
        self._go_on()

    @rule(image=IMAGES)
    def crash_in_the_middle_of_a_write(self, image):
        maps = self.storage.open("alpha")
        slot = maps._free_slot(image)
        file = maps._opened()
        file._write_at(file.place(image, slot), b"\x3c")  # one byte of it had reached the file
        self._go_on()

    @rule()
    def crash_before_saying_saved(self):
        self._replace_last(self.storage.state_dict())
        self._go_on()

    @precondition(lambda self: self.disk)
    @rule()
    def crash_between_the_two_renames(self):
        self.storage.state_dict()
        self.disk = self.disk[:1]  # last.pt has become previous.pt
        self._go_on()

    @precondition(lambda self: len(self.disk) == 2)
    @rule()
    def crash_and_go_back(self):
        """Delete last.pt and go on from previous.pt."""
        self.disk = self.disk[1:]
        self._go_on()

    @invariant()
    def every_checkpoint_finds_its_maps(self):
        assert held(self.storage) == self.now
        for state, expected in self.disk:
            fresh = opened(self.folder)
            fresh.load_state_dict(state)
            assert held(fresh) == expected

    def _replace_last(self, state):
        self.disk = [(state, list(self.now)), *self.disk[:1]]

    def _go_on(self):
        self.storage, self.now = opened(self.folder), [0.0] * 3
        if self.disk:
            self.storage.load_state_dict(self.disk[0][0])
            self.now = list(self.disk[0][1])


def test_a_checkpoint_never_goes_with_other_maps():
    limits = settings(max_examples=60, stateful_step_count=25, deadline=None, derandomize=True)
    run_state_machine_as_test(Crashes, settings=limits)


def test_a_store_that_writes_in_place_would_be_found(monkeypatch):
    """The machine above is able to fail."""
    monkeypatch.setattr(FilePixelMaps, "_free_slot", lambda self, image: 1)
    limits = settings(
        max_examples=60, stateful_step_count=25, deadline=None, derandomize=True, report_multiple_bugs=False
    )
    with pytest.raises((InputError, AssertionError)):  # a checksum that does not fit, or other numbers
        run_state_machine_as_test(Crashes, settings=limits)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(arrays(np.float16, (3, 5), elements=FINITE), IMAGES)
def test_half_precision_numbers_come_back_bit_for_bit(values, image):
    with tempfile.TemporaryDirectory() as folder:
        kept = RunStorage(Path(folder), 3, (3, 5))
        kept.open("alpha").write([image], torch.from_numpy(values).float()[None])
        resumed = RunStorage(Path(folder), 3, (3, 5))
        resumed.load_state_dict(kept.state_dict())
        got = resumed.open("alpha").read([image])[0].numpy().astype(np.float16)
        assert got.tobytes() == values.tobytes()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(arrays(np.float32, (2, 3), elements=st.floats(-70000, 70000, width=32)))
def test_rounding_costs_at_most_half_a_unit_in_the_last_place(values):
    with tempfile.TemporaryDirectory() as folder:
        kept = RunStorage(Path(folder), 1, (2, 3)).open("alpha")
        kept.write([0], torch.from_numpy(values)[None])
        cut = values.clip(-65504, 65504)
        error = np.abs(kept.read([0])[0].numpy() - cut)
        assert (error <= np.abs(cut) * 2.0**-11 + 2.0**-25).all()
