"""What the command says beside the scores."""

import json

import pytest
import yaml
from PIL import Image
from tests.unit.evaluation.fakes import write_fake_run, write_fake_set

from metadcseg.cli.main import main
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.evaluation.imported import ExternalTool, import_predictions
from metadcseg.evaluation.noise_detection import NothingToJudge, judge_weights
from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions
from metadcseg.training.options import TrainingOptions


def test_weights_that_cannot_be_judged_are_named_and_the_scores_are_there(tmp_path, capsys):
    prepared = write_fake_set(tmp_path / "set")
    image, label = prepared.image(prepared.cases[0]), prepared.label(prepared.cases[0])
    with SetWriter(tmp_path / "given", name="given", classes=prepared.classes, channels=1) as writer:
        for number, role in enumerate(("train", "train", "val", "test")):
            name = f"case {number}"
            writer.add(id=name, role=role, group=name, image=image, label=label)
    given = PreparedSet.open(tmp_path / "given")
    run = write_fake_run(tmp_path / "run", given)
    (run / "config.yaml").write_text(yaml.safe_dump({"method": "supervised"}))
    assert main(["evaluate", str(run), "--weights", "--json", "--trust-code", "--accelerator", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["split"] == "test"
    (line,) = [line for line in err.splitlines() if "weights.json" in line]
    assert "the method supervised with these options keeps no weights" in line
    assert "no evaluation/weights.json was written" in line
    assert "leave out --weights" in line
    assert "reference mask" not in line  # with them there would be none, either
    assert not (run / "evaluation" / "weights.json").exists()
    assert (run / "evaluation" / "test.json").exists()
    with pytest.raises(
        NothingToJudge, match=r"2 of 2 training cases have no reference mask.*metadcseg corrupt"
    ):
        judge_weights(run, given, create_method("pairs"), NetworkOptions(), TrainingOptions())


def test_whole_volumes_have_no_weights_to_judge(tmp_path):
    prepared = write_fake_set(tmp_path / "set")
    options = NetworkOptions(spatial_dims=3)
    with pytest.raises(NothingToJudge, match="nothing was written: leave out --weights"):
        judge_weights(tmp_path, prepared, create_method("supervised"), options, TrainingOptions())


def test_an_unknown_device_is_one_sentence(tmp_path, capsys):
    run = write_fake_run(tmp_path / "run", write_fake_set(tmp_path / "set"))
    assert main(["evaluate", str(run), "--accelerator", "gpu"]) == 2
    assert "device must be auto, cpu" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--cost",), ("--weights",), ("--cost", "--weights")])
def test_predictions_of_another_tool_are_no_damaged_run(tmp_path, capsys, words):
    prepared = write_fake_set(tmp_path / "set")
    (tmp_path / "masks").mkdir()
    for case, name in zip(prepared.select("test"), ("found", "wrong-label-x", "missed"), strict=True):
        Image.fromarray(prepared.label(case)).save(tmp_path / "masks" / f"{name}.png")
    import_predictions(prepared, tmp_path / "masks", tmp_path / "run", ExternalTool("tool 1"))
    assert main(["evaluate", str(tmp_path / "run"), *words]) == 2
    said = capsys.readouterr().err
    assert "predictions of another tool, without a network: give a folder that train wrote" in said
    assert "damaged" not in said
