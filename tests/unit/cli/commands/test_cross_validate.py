"""What of a cross-validation that has begun holds for its other folds."""

import json
from types import SimpleNamespace

import pytest
from jsonargparse import ArgumentParser
from rich.console import Console
from tests.unit.evaluation.fakes import write_fake_run, write_fake_set
from tests.unit.export.networks import random_run

from metadcseg.cli.commands.cross_validate import _fold_run, _shared, add_options
from metadcseg.cli.parsing import parse
from metadcseg.evaluation.evaluate import evaluate_run
from metadcseg.evaluation.inference import InferenceOptions
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


@pytest.mark.parametrize("options", [InferenceOptions(), InferenceOptions(flips=True)])
def test_a_fold_takes_only_scores_without_test_time_options(tmp_path, monkeypatch, options):
    prepared = write_fake_set(tmp_path / "set")
    run = write_fake_run(tmp_path / "run", prepared)
    evaluate_run(run, prepared, "test", trust_code=True, options=options)
    made = []
    monkeypatch.setattr(
        "metadcseg.training.train", lambda *_, **__: SimpleNamespace(interrupted=False, epochs_done=3)
    )
    monkeypatch.setattr("metadcseg.evaluation.evaluate.evaluate_run", lambda *_, **__: made.append(run) or {})
    config = SimpleNamespace(
        method=None, network=SimpleNamespace(class_path=None), training=None, to_dict=dict
    )
    record = _fold_run(prepared, run, config, 0, Console(), None, ())
    assert bool(record) == (not made) == (not options.flips)
