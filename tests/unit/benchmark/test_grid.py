"""Grids: what they stand for, and what the benchmark contract lets nobody write."""

from pathlib import Path

import pytest
import yaml

import metadcseg
from metadcseg.benchmark.read_grid import grid_of, read_grid
from metadcseg.cli.commands.benchmark import check_names
from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError
from metadcseg.results.grid import HONEST, Noise, Task

READY = sorted((Path(__file__).parents[3] / "studies" / "grids").glob("*/*.yaml"))
PRESETS = Path(metadcseg.__file__).parent / "configs"
ROWS = {**HONEST, "ours": {"method": "metadcseg", "metadcseg": {"dcd": False}}}


def grid(**changes):
    return grid_of({"sets": {"la": "la-set"}, "rows": ROWS, **changes}, "g.yaml")


def test_every_combination_is_one_task_seed_by_seed():
    made = grid(sets={"a": "x", "b": "y"}, noise=[0, 0.4, {"model": "over", "rate": 0.2}], seeds=[3, 4])
    tasks = made.tasks()
    assert len(tasks) == len({task.id for task in tasks}) == 2 * 3 * 2 * 4
    assert [task.seed for task in tasks] == [3] * 24 + [4] * 24
    assert {task.noise for task in tasks} == {Noise(), Noise("paper", 0.4), Noise("over", 0.2)}


def test_rows_share_a_set_and_not_a_folder():
    by_set = {task.data for task in grid(noise=[0.4], seeds=[0]).tasks()}
    assert by_set == {"la/paper-0.4/seed-0"}
    assert (
        Task("la", Noise("paper", 0.4), 0.05, "a", 0).data != Task("la", Noise("paper", 0.4), 5, "a", 0).data
    )


def test_gold_counted_in_slices_has_a_folder_that_every_disk_allows():
    made = grid(noise=[0.4], gold=["slices:0.02", 0.02], seeds=[3])
    assert made.gold == (GoldSlices(0.02), 0.02)
    folders = {(task.data, task.dealt) for task in made.tasks()}
    assert folders == {
        (f"la/{gold}/paper-0.4/seed-3", f"la/{gold}/set-3") for gold in ("gold-slices-0.02", "gold-0.02")
    }


def test_the_papers_noise_by_its_other_reading_is_a_noise_of_its_own():
    made = grid(noise=[{"model": "paper-centred", "rate": 0.2}], seeds=[0])
    assert {task.data for task in made.tasks()} == {"la/paper-centred-0.2/seed-0"}


def test_options_of_a_row_outweigh_those_of_all():
    made = grid(options={"training": {"size": 64}, "metadcseg": {"dcd": True, "eta": 0.1}})
    assert made.options_of("ours") == {
        "training": {"size": 64},
        "metadcseg": {"dcd": False, "eta": 0.1},
        "method": "metadcseg",
    }


def test_vary_multiplies_the_rows_that_have_the_option():
    made = grid(vary={"metadcseg.eta": [0.1, 0.2]})
    assert list(made.rows) == [*HONEST, "ours, eta 0.1", "ours, eta 0.2"]
    assert made.options_of("ours, eta 0.2")["metadcseg"] == {"dcd": False, "eta": 0.2}
    assert len(grid(vary={"training.size": [32, 64]}).rows) == 8


def test_the_upper_bound_may_use_gold_and_knows_no_noise_either():
    bound = {"method": "supervised", "supervised": {"labels": "clean", "gold": "mixed"}}
    rows = {**{name: row for name, row in HONEST.items() if name != "clean labels"}, "clean + gold": bound}
    made = grid(rows=rows, noise=[0.4, 0.2], seeds=[0])
    homes = {made.home(task).id for task in made.tasks() if task.row == "clean + gold"}
    assert homes == {"la/paper-0.4/clean-gold/seed-0"}


def test_what_it_is_about_and_what_to_do_next_are_kept_for_the_report():
    made = grid(about="Why.", next=["Look:", "metadcseg report bench"])
    assert (made.given["about"], made.given["next"]) == ("Why.", ["Look:", "metadcseg report bench"])


def test_a_row_may_have_a_network_of_its_own_in_place_of_the_shared_one():
    rows = {
        **ROWS,
        "wide": {"method": "pairs", "network": {"width": 32}},
        "other": {"method": "pairs", "network": {"name": "unet", "width": 4}},
    }
    made = grid(rows=rows, options={"network": {"width": 8, "norm": "batch"}})
    held = {row: made.options_of(row)["network"] for row in ("noisy only", "wide", "other")}
    assert held == {
        "noisy only": {"width": 8, "norm": "batch"},
        "wide": {"width": 32, "norm": "batch"},
        "other": {"name": "unet", "width": 4},
    }


REFUSED = [
    ({"next": [{"do": "this"}]}, "'next.0.' must be text, got an object"),
    ({"seed": [0]}, "unknown key 'seed': did you mean 'seeds'"),
    ({"rows": {}}, "rows is missing"),
    ({"rows": {"ours": {"method": "metadcseg"}}}, "noisy only, noisy . gold, clean labels are missing"),
    (
        {"rows": {**ROWS, "big": {"method": "l2b", "network": "unet"}}},
        "row 'big': 'network' must be an object, got 'unet'",
    ),
    ({"rows": {**ROWS, "big": {"method": "l2b", "training": {"epochs": 900}}}}, "with the same budget"),
    (
        {"rows": {**ROWS, "odd": {"method": "l2b", "metadcseg": {}}}},
        "only method, l2b and network belong there",
    ),
    ({"rows": {**ROWS, "odd": {"l2b": {}}}}, "row 'odd': it lacks 'method'; a row has a method"),
    ({"rows": {**ROWS, "odd": "l2b"}}, "row 'odd': it must be an object, got 'l2b'; a row has a method"),
    ({"rows": {**ROWS, "Ours!": ROWS["ours"], "Ours": ROWS["ours"]}}, "two runs would be called"),
    ({"noise": [1.2]}, "'noise.0.' must be a number < 1.0, got 1.2"),
    ({"noise": [{"modell": "over", "rate": 0.4}]}, "'noise.0.' holds an unknown key 'modell'"),
    ({"noise": [True]}, "must be a number or an object, got true or false"),
    ({"noise": [0, float("nan")]}, "'noise.1.' must be a number >= 0.0, got nan"),
    ({"noise": 0.4}, "'noise' must be a list, got 0.4"),
    ({"seeds": [-1]}, "'seeds.0.' must be a whole number >= 0, got -1"),
    ({"gold": [0]}, "gold is a list"),
    ({"gold": [1.5]}, "gold is a list"),
    ({"gold": [float("inf")]}, "gold is a list"),
    ({"gold": [True]}, "gold is a list"),
    ({"gold": ["slices:2"]}, "gold is a list of .* such as slices:0.02, got 'slices:2'"),
    ({"gold": ["slices:0.1", "slices:0.10"]}, "two runs would be called la/gold-slices-0.1/"),
    ({"folds": 1, "gold": [0.1]}, "'folds' must be a whole number >= 2, got 1"),
    ({"folds": 3}, "folds deal all roles anew, gold among them"),
    ({"sets": {"../la": "x"}}, "cannot name a set"),
    ({"sets": {"la": "x", "la.yaml": "y"}}, "must not end in .yaml, .txt, .lock, got 'la.yaml'"),
    ({"sets": {"la.TXT": "y"}}, "must not end in .yaml, .txt, .lock, got 'la.TXT'"),
    ({"sets": {"la": "x", "LA": "y"}}, "the sets 'la' and 'LA' differ in capitals alone"),
    ({"sets": {"la": {"path": "x"}}}, "must be the path of a prepared set"),
    ({"vary": {"metadcseg.eta": 3}}, "must be a list of values"),
]


@pytest.mark.parametrize(("changes", "says"), REFUSED)
def test_what_cannot_be(changes, says):
    with pytest.raises(InputError, match=says):
        grid(**changes)


def test_honest_rows_may_be_left_out_with_a_reason():
    made = grid(rows={"ours": {"method": "metadcseg"}}, partial="ablation of one row")
    assert made.partial == "ablation of one row"


@pytest.mark.parametrize("content", ["- a\n", "a: [\n", "\x00"])
def test_files_that_hold_no_grid(content, tmp_path):
    file = tmp_path / "g.yaml"
    file.write_text(content)
    with pytest.raises(InputError, match=r"g.yaml"):
        read_grid(file)
    with pytest.raises(InputError, match=r"none.yaml cannot be read"):
        read_grid(tmp_path / "none.yaml")


def test_aliases_that_stand_for_billions_of_values(tmp_path):
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{one}: &a{one} [{', '.join([f'*a{one - 1}'] * 10)}]" for one in range(1, 10)]
    pairs = [
        line.replace("[", "!!pairs [{k: ", 1).replace(", ", "}, {k: ").replace("]", "}]") for line in bomb
    ]
    for content in ("\n".join(bomb), "\n".join(pairs), "sets: &a {b: *a}"):
        file = tmp_path / "g.yaml"
        file.write_text(content)
        with pytest.raises(InputError, match=r"fewer aliases|alias .* within"):
            read_grid(file)


@pytest.mark.parametrize("file", READY, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_ready_grids_say_what_the_program_understands(file):
    grid = read_grid(file)
    assert len(grid.tasks()) >= 5
    check_names(grid, str(file))
    assert grid.config == "small" or (PRESETS / f"{grid.config}.yaml").exists()
    assert (file.parent.name == "paper") == grid.config.startswith("paper-")


@pytest.mark.parametrize("file", READY, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_gold_of_the_papers_volumes_is_a_share_of_their_slices(file):
    """Of its few volumes a share would be one whole volume, whatever the share."""
    grid = read_grid(file)
    volumes = {"msd-heart", "msd-brain", "promise12"} & set(grid.sets)
    for gold in grid.gold if volumes else ():
        assert isinstance(gold, GoldSlices)
        assert all(grid.sets[name].endswith(" --gold 0") for name in volumes)


@pytest.mark.parametrize(
    "file", [file for file in READY if file.parent.name == "paper"], ids=lambda file: file.stem
)
def test_binned_stands_beside_the_papers_preset_with_the_numbers_of_the_set(file):
    grid = read_grid(file)
    preset = yaml.safe_load((PRESETS / f"{grid.config}.yaml").read_text())
    assert grid.options_of("binned") == {"method": "binned"}
    of_the_set = {
        "warmup",
        "boundary_ratio",
        "lambda_boundary",
        "lambda_dice",
    }  # the paper's, as table 8 has them
    assert preset["binned"] == {name: preset["metadcseg"][name] for name in of_the_set}


def test_there_are_grids_for_every_table_of_the_paper():
    names = {file.stem.split("-")[1] for file in READY if file.stem.startswith("table")}
    assert names == {"1", "2", "3", "4", "5", "6", "7"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vary": {"metadsceg.meta_every": [1, 2]}}, "changes no row"),
        ({"options": {"training": 3}}, "options: training: it must be an object, got 3"),
        (
            {"rows": {**ROWS, "x": {"method": "supervised", "supervised": "mixed"}}},
            "row 'x': supervised: it must be an object, got 'mixed'",
        ),
        ({"rows": {**ROWS, "x" * 81: {"method": "l2b"}}}, "at most 80 characters"),
        ({"vary": {"metadcseg.eta": ["x" * 71]}}, "vary metadcseg.eta: .* at most 80 characters, got 81"),
        ({"sets": {"a": {"prepare": "phantom 'x"}}}, "No closing quotation"),
        ({"noise": [{"model": "../../x", "rate": 0.3}]}, "a noise model is one of those"),
    ],
)
def test_clumsy_grids_are_told_what_is_wrong(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        grid(**changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows": {**ROWS, "x": {"method": "metadcsek"}}}, "row 'x': unknown method 'metadcsek'"),
        (
            {"rows": {**ROWS, "x": {"method": "l2b", "l2b": {"vews": True}}}},
            "row 'x': unknown option 'l2b.vews': did you mean 'l2b.views'",
        ),
        (
            {"rows": {**ROWS, "x": {"method": "metadcseg", "metadcseg": {"eta": -1}}}},
            "row 'x': .*eta must be above 0",
        ),
        (
            {"rows": {**ROWS, "x": {"method": "l2b", "network": {"size": "small"}}}},
            "row 'x': network.size small: unetplusplus has no size",
        ),
        (
            {"rows": {**ROWS, "x": {"method": "madgnet"}}},
            r"row 'x': .* network madgnet alone, .* got unetplusplus: write network: \{name: madgnet\} into the row",
        ),
        (
            {"rows": {**ROWS, "x": {"method": "condseg"}}, "options": {"network": {"spatial_dims": 3}}},
            "row 'x': .* condseg alone, .* network.spatial_dims is 3: choose another method for volumes",
        ),
        ({"options": {"training": {"epocs": 3}}}, "g.yaml: options: unknown option 'training.epocs'"),
        ({"config": "smal"}, "g.yaml: config: unknown preset 'smal'"),
        (
            {"config": "auto"},
            "g.yaml: config: auto chooses .* for each set and machine.*name a preset or a file",
        ),
        ({"noise": [{"model": "ovr", "rate": 0.3}]}, "g.yaml: noise: unknown noise model 'ovr'"),
    ],
)
def test_names_that_nobody_knows_are_told_before_anything_runs(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        check_names(grid(**changes), "g.yaml")


def test_a_config_may_say_what_train_understands(tmp_path):
    (tmp_path / "mine.yaml").write_text("epochs: 5\naccelerator: cpu\nseed: 3\n")
    check_names(grid(config=str(tmp_path / "mine.yaml")), "g.yaml")


def test_a_name_may_look_like_a_date_and_be_no_date(tmp_path):
    (tmp_path / "g.yaml").write_text("sets: {2020-01-01: x}\nrows: {a: {method: l2b}}\npartial: x\n")
    assert read_grid(tmp_path / "g.yaml").sets == {"2020-01-01": "x"}
    (tmp_path / "g.yaml").write_text("sets: {!!timestamp 2020-01-01: x}\nrows: {a: {method: l2b}}\n")
    with pytest.raises(InputError, match="put names into quotes"):
        read_grid(tmp_path / "g.yaml")


def test_names_and_paths_that_look_like_numbers_stay_as_they_are(tmp_path):
    row = "{method: l2b, network: {pretrained: 007}}"
    (tmp_path / "g.yaml").write_text(f"sets: {{001: 1_000}}\nrows: {{010: {row}}}\npartial: x\n")
    read = read_grid(tmp_path / "g.yaml")
    assert read.sets == {"001": "1_000"}
    assert read.rows["010"]["network"] == {"pretrained": "007"}


@pytest.mark.parametrize("name", ["1.50", "yes", "null"])
@pytest.mark.parametrize(
    "names", ["sets: {NAME: x}\nrows: {a: {method: l2b}}", "sets: {a: x}\nrows: {NAME: {method: l2b}}"]
)
def test_what_is_no_text_names_neither_set_nor_row(tmp_path, names, name):
    (tmp_path / "g.yaml").write_text(names.replace("NAME", name))
    with pytest.raises(InputError, match=r"g\.yaml: .* is no name: put names into quotes"):
        read_grid(tmp_path / "g.yaml")


def test_what_is_the_default_may_be_written_out():
    rows = {**ROWS, "noisy only": {"method": "supervised", "supervised": {"labels": "noisy", "gold": "none"}}}
    assert len(grid(rows=rows).tasks()) == 12


def test_folds_have_folders_of_their_own():
    assert not {task.id for task in grid().tasks()} & {task.id for task in grid(folds=2, gold=[0.1]).tasks()}


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": list(range(30_000))},
        {"seeds": list(range(400)), "gold": list(range(1, 400)), "noise": [0, 0.1, 0.2]},
        {"vary": {f"training.{name}": list(range(1, 2000)) for name in ("epochs", "batch", "size", "depth")}},
    ],
)
def test_short_lists_that_multiply_are_refused_before_they_do(changes):
    with pytest.raises(InputError, match="runs, at most 100000 are allowed"):
        grid(**changes)
