"""What of a cross-validation that has begun holds for its other folds."""

import json

import pytest
from jsonargparse import ArgumentParser
from tests.unit.export.networks import random_run

from metadcseg.cli.commands.cross_validate import _shared, add_options
from metadcseg.cli.parsing import parse
from metadcseg.training.run.folder import RunFolder


@pytest.mark.parametrize("words", [("--method", "calibrated"), ("--config", "small")])
def test_an_earlier_versions_first_fold_says_what_words_leave_open(tmp_path, words):
    run = random_run(tmp_path / "run", method="calibrated")
    info = RunFolder(run).info
    told = json.loads(info.read_bytes())
    del told["options"]["shrink_directions"]  # which earlier versions did not have
    info.write_text(json.dumps(told))
    parser = ArgumentParser(exit_on_error=False)
    add_options(parser)
    options = parse(parser, ["set", "--out", "folds", *words])
    assert options.calibrated.shrink_directions
    shared, _ = _shared(options, None, run)
    assert not shared.calibrated.shrink_directions
    typed = parse(parser, ["set", "--out", "folds", *words, "--calibrated.shrink_directions", "true"])
    assert _shared(typed, None, run)[0].calibrated.shrink_directions  # which training then refuses
