"""Choices that a user makes on the command line and that must reach the result, or be refused."""

import numpy as np
import pytest
from tests.end_to_end.tools import cli, done, refused, save, train

from metadcseg.data import PreparedSet
from metadcseg.forward_mode.engine import CannotFollow
from metadcseg.training import read_run


def test_options_of_other_methods_are_said_once_and_ignored(sets, tmp_path):
    words = ("--supervised.gold", "mixed", "--l2b.views=false")
    told = done(*train(sets.noisy, tmp_path / "run", *words)).err.splitlines()
    others = [line for line in told if "no effect" in line]
    assert others == [
        "2 options of other methods have no effect with --method calibrated: --supervised.gold, --l2b.views"
    ]
    done(*train(sets.noisy, tmp_path / "same"))
    assert same_settings(tmp_path / "run", tmp_path / "same")
    one = done(*train(sets.noisy, tmp_path / "l2b", "--method", "l2b", *words)).err
    assert "1 option of another method has no effect with --method l2b: --supervised.gold\n" in one


def test_finite_differences_where_the_engine_cannot_follow_are_a_note(sets, tmp_path, monkeypatch):
    def lost(*_, **__):
        raise CannotFollow("network Sampled has no forward-mode rule for grid_sampler_2d in 'head'")

    monkeypatch.setattr("metadcseg.forward_mode.jvp.follow", lost)
    words = ("--method", "binned", "--binned.meta_every", 1)
    told = done(*train(sets.noisy, tmp_path / "run", *words, epochs=2)).err.splitlines()
    assert [line for line in told if "forward-mode" in line or ".py" in line] == [
        "note: network Sampled has no forward-mode rule for grid_sampler_2d in 'head': finite differences are taken"
    ]


def same_settings(one, two):
    infos = [read_run(folder) for folder in (one, two)]
    return all(infos[0][key] == infos[1][key] for key in ("method", "options", "network", "training"))


def test_a_spacing_gives_distances_in_mm(tmp_path):
    folder = tmp_path / "mine"
    for number in range(12):
        image = np.random.default_rng(number).integers(0, 255, (32, 32), dtype=np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 8 : 20 + number % 3] = 255
        save(folder / "images" / f"{number}.png", image)
        save(folder / "masks" / f"{number}.png", mask)
        if number < 2:
            save(folder / "gold" / f"{number}.png", mask)
    done("prepare", folder, "--out", tmp_path / "set", "--spacing", "0.5,2")
    assert PreparedSet.open(tmp_path / "set").cases[0].spacing == (0.5, 2.0)
    done(*train(tmp_path / "set", tmp_path / "run", "--method", "supervised"))
    summary = done("evaluate", tmp_path / "run", "--json").json["summary"]
    assert summary["hd_mm"]["n"] == summary["hd"]["n"] > 0
    refused("prepare", folder, "--out", tmp_path / "other", "--spacing", "0", says=["--spacing", "mm"])


@pytest.mark.parametrize(("roles", "changed"), [("train", {"train"}), ("train,val", {"train", "val"})])
def test_the_roles_asked_for_are_corrupted_and_no_others(sets, tmp_path, roles, changed):
    done("corrupt", sets.clean, "--rate", "0.4", "--out", tmp_path / "noisy", "--roles", roles)
    noisy = PreparedSet.open(tmp_path / "noisy")
    touched = {case.role for case in noisy.cases if (noisy.label(case) != noisy.truth(case)).any()}
    assert touched == changed


def test_the_noise_asked_for_is_the_noise_made(sets, tmp_path):
    noisy = tmp_path / "noisy"
    told = done("corrupt", sets.clean, "--rate", "0.4", "--model", "over", "--out", noisy, "--json").json
    assert (told["model"], told["preset"]) == ("over", "over-11-25")
    assert abs(told["rate"] - 0.4) <= 0.01
    made = PreparedSet.open(noisy)
    for case in made.select("train"):
        label, truth = made.label(case), made.truth(case)
        assert (label[truth == 1] == 1).all()
        assert (label == 1).sum() > (truth == 1).sum() > 0
    words = ("corrupt", sets.clean, "--rate", "0.2", "--model", "polygon", "--out", tmp_path / "coarse")
    assert "tolerance in pixels" in done(*words).out
    refused(
        *("corrupt", sets.clean, "--rate", "0.4", "--model", "ovr", "--out", tmp_path / "new"),
        says=["unknown noise model 'ovr'", "did you mean 'over'?"],
    )
    assert not (tmp_path / "new").exists()


def test_check_judges_the_split_that_prepare_will_make(tmp_path):
    folder = tmp_path / "mine"
    for number in range(10):
        save(
            folder / "images" / f"{number}.png",
            np.full((16, 16), number, np.uint8) + np.eye(16, dtype=np.uint8),
        )
        save(folder / "masks" / f"{number}.png", 255 * np.eye(16, dtype=np.uint8))
    report = cli("check", folder, "--val", "0.3", "--test", "0.3", "--json").json
    assert (report["cases"]["val"], report["cases"]["test"]) == (3, 3)


def test_a_method_of_one_network_is_refused_with_another_before_anything_is_written(sets, tmp_path):
    words = train(sets.noisy, tmp_path / "run", "--method", "madgnet")
    refused(
        *words, says=["network madgnet alone", "got unetplusplus", "add --network.name madgnet"], alone=False
    )
    assert not (tmp_path / "run").exists()
