import json

import numpy as np
import pytest
from tests.unit.noise.tools import apply

from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.data.synthetic.corruption import corrupt_set, reference, without_draws
from metadcseg.errors import InputError
from metadcseg.noise.base import corrupt, draw_mask
from metadcseg.noise.draws import NoiseDraw, nearest_preset
from metadcseg.noise.registry import MODELS, noise_model

CLASSES = ("background", "liver", "spleen")


def build(folder, *, count=16, classes=CLASSES, truth_of=None, empty=1, seed=1):
    """A set with every role; training cases hold all classes, but for the empty ones at the end."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :44]
    roles = ["train"] * count + ["gold"] * 2 + ["val"] * 2 + ["test"] * 2
    with SetWriter(folder, name="tiny", classes=classes, channels=1, source={"from": "a test"}) as writer:
        for number, role in enumerate(roles):
            label = np.zeros((40, 44), np.uint8)
            if not count - empty <= number < count:
                for value in range(1, len(classes)):
                    row, column = rng.uniform(13, 17, 2) + 10 * (value - 1)
                    label[(rows - row) ** 2 + (columns - column) ** 2 < rng.uniform(5, 9) ** 2] = value
                assert set(np.unique(label)) == set(range(len(classes)))
            label[0, :3] = 255
            writer.add(
                id=f"case/{number}",
                role=role,
                group=f"patient {number // 2}",
                image=rng.integers(0, 255, (40, 44, 1)).astype(np.uint8),
                label=label,
                truth=None if truth_of is None else truth_of(label),
                spacing=(0.5, 0.7),
            )
    return PreparedSet.open(folder)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return build(tmp_path_factory.mktemp("clean") / "set")


@pytest.fixture(scope="module")
def corrupted(clean, tmp_path_factory):
    out = tmp_path_factory.mktemp("corrupted") / "set"
    shown = corrupt_set(clean, out, 0.4, 5)
    return PreparedSet.open(out), shown


def test_training_labels_are_corrupted_at_the_rate_and_the_reference_is_kept(clean, corrupted):
    noisy, shown = corrupted
    assert abs(shown["rate"] - 0.4) <= 0.01
    rates = []
    for before, after in zip(clean.select("train"), noisy.select("train"), strict=True):
        label, truth = noisy.label(after), noisy.truth(after)
        np.testing.assert_array_equal(truth, clean.label(before))
        np.testing.assert_array_equal(label == 255, truth == 255)
        if np.any((truth > 0) & (truth < 255)):
            overlaps = [2 * np.sum((label == c) & (truth == c)) for c in (1, 2)]
            totals = [np.sum(label == c) + np.sum(truth == c) for c in (1, 2)]
            rates.append(np.mean([1 - both / total for both, total in zip(overlaps, totals, strict=True)]))
    assert np.mean(rates) == pytest.approx(shown["rate"], abs=1e-12)
    assert np.std(rates, ddof=1) == pytest.approx(shown["sd"], abs=1e-12)
    assert (shown["cases"], shown["empty"]) == (len(rates), 1) == (15, 1)


def test_everything_else_stays_as_it_was(clean, corrupted):
    noisy, _ = corrupted
    assert (noisy.name, noisy.classes, noisy.channels) == (clean.name, clean.classes, clean.channels)
    assert noisy.source == clean.source
    assert noisy.verify() == []
    for before, after in zip(clean.cases, noisy.cases, strict=True):
        for field in ("id", "role", "group", "height", "width", "spacing"):
            assert getattr(before, field) == getattr(after, field)
        np.testing.assert_array_equal(clean.image(before), noisy.image(after))
        if after.role != "train":
            np.testing.assert_array_equal(clean.label(before), noisy.label(after))
        np.testing.assert_array_equal(clean.label(before), noisy.truth(after))


def test_the_stored_draws_make_the_labels_again(clean, corrupted):
    noisy, shown = corrupted
    level = nearest_preset(0.4)
    level = type(level)(level.name, level.kernels, level.thresholds, scale=noisy.noise["scale"])
    assert noisy.noise["draws"].keys() == {case.id for case in clean.select("train")}
    for case in noisy.select("train"):
        draws = [NoiseDraw(**one) for one in noisy.noise["draws"][case.id]]
        assert len(draws) == 2
        np.testing.assert_array_equal(apply(noisy.truth(case), draws, level), noisy.label(case))
    assert without_draws(noisy.noise) == shown


def test_the_report_says_what_was_done(clean, corrupted):
    _, shown = corrupted
    assert json.loads(json.dumps(shown)) == shown
    assert shown["per_class"].keys() == {"liver", "spleen"}
    assert shown["roles"] == ["train"]
    assert shown["clean_set"] == clean.fingerprint
    assert (shown["target"], shown["seed"], shown["preset"]) == (0.4, 5, "table-9-40")
    assert len(shown["hash"]) == 64
    assert "draws" not in shown


def test_the_same_seed_makes_the_same_set_and_another_seed_another(clean, corrupted, tmp_path):
    noisy, shown = corrupted
    assert corrupt_set(clean, tmp_path / "again", 0.4, 5) == shown
    assert PreparedSet.open(tmp_path / "again").fingerprint == noisy.fingerprint
    assert corrupt_set(clean, tmp_path / "other", 0.4, 6)["hash"] != shown["hash"]


def test_the_hash_covers_the_labels_and_not_only_the_draws(clean, tmp_path):
    other = build(tmp_path / "other", seed=2)
    assert [case.id for case in other.cases] == [case.id for case in clean.cases]
    first, second = (
        corrupt_set(prepared, tmp_path / name, 0.0, 0)["hash"]
        for prepared, name in ((clean, "a"), (other, "b"))
    )
    assert first != second


def test_vanished_masks_are_counted(clean, tmp_path):
    shown = corrupt_set(clean, tmp_path / "set", 0.7, 0)
    noisy = PreparedSet.open(tmp_path / "set")
    gone = sum(
        bool(np.isin(noisy.truth(case), (1, 2)).any() and not np.isin(noisy.label(case), (1, 2)).any())
        for case in noisy.select("train")
    )
    assert shown["vanished"] == gone > 0


def test_rate_0_copies_the_labels(clean, tmp_path):
    shown = corrupt_set(clean, tmp_path / "set", 0.0, 0)
    assert (shown["rate"], shown["scale"], shown["vanished"]) == (0.0, 0.0, 0)
    copy = PreparedSet.open(tmp_path / "set")
    for before, after in zip(clean.cases, copy.cases, strict=True):
        np.testing.assert_array_equal(clean.label(before), copy.label(after))
        assert after.has_truth


def test_a_truth_that_is_known_is_what_gets_corrupted(tmp_path):
    def shifted(label):
        return np.roll(label, 3, axis=1)

    given = build(tmp_path / "given", classes=CLASSES[:2], truth_of=shifted)
    corrupt_set(given, tmp_path / "out", 0.4, 0)
    noisy = PreparedSet.open(tmp_path / "out")
    for before, after in zip(given.cases, noisy.cases, strict=True):
        np.testing.assert_array_equal(noisy.truth(after), given.truth(before))
        if after.role != "train":
            np.testing.assert_array_equal(noisy.label(after), given.label(before))
        np.testing.assert_array_equal(reference(given, before), given.truth(before))


def test_other_roles_are_corrupted_only_when_asked(clean, tmp_path):
    corrupt_set(clean, tmp_path / "set", 0.4, 5, roles=("train", "val", "train"))
    noisy = PreparedSet.open(tmp_path / "set")
    assert noisy.noise["roles"] == ["train", "val"]
    for role, changed in (("gold", False), ("val", True), ("test", False)):
        different = [not np.array_equal(noisy.label(c), noisy.truth(c)) for c in noisy.select(role)]
        assert all(different) if changed else not any(different)


def test_progress_rises_to_its_total(clean, tmp_path):
    seen = []
    corrupt_set(clean, tmp_path / "set", 0.4, 5, progress=lambda done, total: seen.append((done, total)))
    done = [at for at, _ in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1


def test_a_corrupted_set_is_refused(corrupted, tmp_path):
    with pytest.raises(
        InputError, match=r"corrupted already \(rate 0\.4, seed 5\); start from the clean set"
    ):
        corrupt_set(corrupted[0], tmp_path / "set", 0.2, 0)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 40, float("nan")])
def test_a_rate_outside_its_range_is_refused(clean, tmp_path, rate):
    with pytest.raises(InputError, match="rate must be at least 0 and below 1"):
        corrupt_set(clean, tmp_path / "set", rate, 0)


def test_a_rate_out_of_reach_leaves_nothing_behind(clean, tmp_path):
    with pytest.raises(InputError, match=r"rates from 0\.\d\d to 0\.\d\d can"):
        corrupt_set(clean, tmp_path / "set", 0.99, 0)
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_folder_is_refused_before_the_work_and_left_alone(clean, corrupted, tmp_path):
    (tmp_path / "precious").write_text("keep")
    seen = []
    with pytest.raises(InputError, match="already holds"):
        corrupt_set(clean, tmp_path, 0.4, 0, progress=lambda *at: seen.append(at))
    assert seen == []
    assert (tmp_path / "precious").read_text() == "keep"


def test_roles_are_checked(clean, tmp_path):
    with pytest.raises(InputError, match="unknown role 'trian'"):
        corrupt_set(clean, tmp_path / "set", 0.4, 0, roles=("trian",))
    with pytest.raises(InputError, match="no case with the role"):
        corrupt_set(clean, tmp_path / "set", 0.4, 0, roles=())


def test_the_paper_s_noise_is_what_it_was_before_there_were_others(clean, tmp_path):
    # written down before --model came: a change here makes every stored hash mean other noise
    shown = corrupt_set(clean, tmp_path / "set", 0.4, 5)
    assert shown["hash"] == "95cab4e0153abde57faad75cc4242025a41babfcbf508a78d86fe635de703f66"
    assert (shown["model"], shown["scale"]) == ("paper", 0.2109375)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """So many masks that every model can come within the tolerance."""
    return build(tmp_path_factory.mktemp("many") / "set", count=64)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_reaches_its_rate_spoils_gold_alike_and_its_draws_make_the_labels_again(
    many, tmp_path, model
):
    rate = 0.1 if model == "annotator" else 0.3
    shown = corrupt_set(many, tmp_path / "set", rate, 5, model=model)
    noisy, kind = PreparedSet.open(tmp_path / "set"), noise_model(model, rate)
    assert abs(shown["rate"] - rate) <= 0.01
    assert (shown["model"], noisy.noise["model"]) == (model, model)
    for case in noisy.select("train"):
        made = corrupt(noisy.truth(case), noisy.noise["draws"][case.id], kind, shown["scale"])
        np.testing.assert_array_equal(made, noisy.label(case))
    for case in noisy.select("gold"):
        made = corrupt(noisy.truth(case), draw_mask(kind, 5, case.id, 3), kind, shown["scale"])
        np.testing.assert_array_equal(noisy.given(case), made)
    assert corrupt_set(many, tmp_path / "again", rate, 5, model=model) == shown


def test_a_set_corrupted_before_there_were_models_opens_and_is_refused_like_any(corrupted, clean, tmp_path):
    noise = {key: value for key, value in corrupted[0].noise.items() if key != "model"}
    with SetWriter(
        tmp_path / "old", name="old", classes=CLASSES, channels=1, noise=noise, source=clean.source
    ) as writer:
        for case in clean.select("train")[:2]:
            label = clean.label(case)
            writer.add(
                id=case.id, role="train", group=case.group, image=clean.image(case), label=label, truth=label
            )
    old = PreparedSet.open(tmp_path / "old")
    assert old.noise == noise
    with pytest.raises(InputError, match="corrupted already"):
        corrupt_set(old, tmp_path / "set", 0.2, 0)


def test_an_unknown_model_is_refused_with_the_nearest(clean, tmp_path):
    with pytest.raises(InputError, match=r"unknown noise model 'ovr': did you mean 'over'\?"):
        corrupt_set(clean, tmp_path / "set", 0.2, 0, model="ovr")


def test_rate_0_is_a_copy_by_every_model(clean, tmp_path):
    shown = corrupt_set(clean, tmp_path / "set", 0.0, 0, model="over")
    assert (shown["model"], shown["preset"], shown["scale"], shown["rate"]) == ("over", "none", 0.0, 0.0)


def test_gold_gets_the_mask_that_its_label_replaced(clean, corrupted):
    noisy, shown = corrupted
    level = noise_model("paper", 0.4)
    assert [case.id for case in noisy.cases if case.has_given] == [case.id for case in clean.select("gold")]
    assert shown["pairs"] == noisy.noise["pairs"] == len(clean.select("gold")) == 2
    for before, after in zip(clean.select("gold"), noisy.select("gold"), strict=True):
        np.testing.assert_array_equal(noisy.label(after), clean.label(before))
        spoiled = corrupt(
            clean.label(before), draw_mask(level, 5, after.id, len(CLASSES)), level, shown["scale"]
        )
        np.testing.assert_array_equal(noisy.given(after), spoiled)
        assert not np.array_equal(noisy.given(after), noisy.label(after))
        np.testing.assert_array_equal(noisy.given(after) == 255, noisy.label(after) == 255)


def test_gold_whose_own_label_is_spoiled_has_no_pair_and_the_same_draws(clean, tmp_path):
    shown = corrupt_set(clean, tmp_path / "set", 0.4, 5, roles=("train", "gold"))
    noisy = PreparedSet.open(tmp_path / "set")
    assert (shown["pairs"], [case.has_given for case in noisy.select("gold")]) == (0, [False, False])
    for case in noisy.select("gold"):  # as those of the mask that it would have replaced
        assert noisy.noise["draws"][case.id] == draw_mask(noise_model("paper", 0.4), 5, case.id, 3)


def test_without_noise_a_pair_is_of_equal_masks(clean, tmp_path):
    shown = corrupt_set(clean, tmp_path / "set", 0.0, 0)
    copy = PreparedSet.open(tmp_path / "set")
    assert shown["pairs"] == 2
    for case in copy.select("gold"):
        np.testing.assert_array_equal(copy.given(case), copy.label(case))


@pytest.fixture(scope="module")
def with_pairs(clean, tmp_path_factory):
    """A clean set whose gold and test cases hold real careless masks: each shifted by three pixels."""
    folder = tmp_path_factory.mktemp("with pairs") / "set"
    with SetWriter(folder, name="tiny", classes=CLASSES, channels=1) as writer:
        for case in clean.cases:
            label = clean.label(case)
            held = case.role in ("gold", "test")
            writer.add(
                id=case.id,
                role=case.role,
                group=case.group,
                image=clean.image(case),
                label=label,
                truth=label,
                given=np.roll(label, 3, axis=1) if held else None,
            )
    return PreparedSet.open(folder)


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_other_roles_keep_their_pairs_and_gold_s_are_of_the_noise_injected(with_pairs, tmp_path, rate):
    shown = corrupt_set(with_pairs, tmp_path / "set", rate, 5)
    noisy = PreparedSet.open(tmp_path / "set")
    assert shown["pairs"] == 2
    for before, after in zip(with_pairs.cases, noisy.cases, strict=True):
        assert after.has_given == before.has_given
        if after.has_given:
            same = np.array_equal(noisy.given(after), with_pairs.given(before))
            assert same == (after.role == "test" or rate == 0)


def test_a_pair_whose_mask_is_itself_spoiled_is_none(with_pairs, tmp_path):
    corrupt_set(with_pairs, tmp_path / "set", 0.4, 5, roles=("train", "test"))
    noisy = PreparedSet.open(tmp_path / "set")
    assert not any(case.has_given for case in noisy.select("test"))


def test_pairs_change_nothing_of_the_training_labels(clean, with_pairs, tmp_path):
    first = corrupt_set(clean, tmp_path / "a", 0.4, 5)
    second = corrupt_set(with_pairs, tmp_path / "b", 0.4, 5)
    assert (first["hash"], first["scale"]) == (second["hash"], second["scale"])
