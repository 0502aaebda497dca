"""Folds of an audit begin where the run began, and that is said."""

import hashlib

import pytest

from metadcseg.audit.folds import _check_start
from metadcseg.errors import InputError, Note


def test_weights_to_begin_with_are_those_of_the_run_and_may_know_the_masks(tmp_path):
    file = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="not there: put it back"):
        _check_start(file, None)
    file.write_bytes(b"weights")
    with pytest.warns(Note, match="where it was trained on these masks, nothing is out of fold"):
        _check_start(file, hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(InputError, match="another file than the run began with"):
        _check_start(file, hashlib.sha256(b"others").hexdigest())
