import warnings

import pytest
import yaml
from jsonargparse import ArgumentParser

from metadcseg.cli.commands.train import add_options
from metadcseg.cli.config import add_run_options, read_config, run_config
from metadcseg.cli.parsing import config_path, make_parser, parse, preset_names
from metadcseg.errors import InputError, Note
from metadcseg.methods import L2B, METHODS
from metadcseg.methods.metadcseg.method import MetaDCSeg
from metadcseg.methods.supervised import Supervised


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_is_what_it_writes_down(name, tmp_path):
    config = read_config(name)
    methods = {"paper-code-": "l2b", "paper-": "metadcseg"}
    method = next((method for start, method in methods.items() if name.startswith(start)), "calibrated")
    assert config.method.name == method
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(config.to_dict()))
    assert read_config(str(again)).to_dict() == config.to_dict()


@pytest.mark.parametrize("name", preset_names())
def test_presets_give_every_method_its_options(name):
    config = read_config(name)
    assert config.methods.keys() == METHODS.keys()
    written = yaml.safe_load(config_path(name).read_text())
    for group in ("training", "network", *METHODS):
        options = getattr(config, group, None) or config.methods[group]
        for key, value in written.get(group, {}).items():
            if not isinstance(value, dict):
                assert getattr(options, key) == value, (group, key)


def test_table_8_of_the_paper():
    """Epochs, batch, learning rate, weight decay, lambda of boundary and Dice, temperature, boundary ratio."""
    expected = {
        "paper-msd-heart": (160, 1, 0.0040, 5e-4, 0.33, 0.12, 0.5, 0.11),
        "paper-msd-brain": (180, 1, 0.0035, 4e-4, 0.28, 0.14, 0.5, 0.12),
        "paper-promise12": (120, 1, 0.0050, 5e-4, 0.30, 0.10, 0.6, 0.10),
        "paper-kvasir-seg": (140, 2, 0.0060, 5e-4, 0.35, 0.08, 0.9, 0.14),
    }
    literal = {name for name in preset_names() if name.startswith("paper-") and "code" not in name}
    assert literal == expected.keys()
    for name, values in expected.items():
        training, method = read_config(name).training, read_config(name).method
        assert isinstance(method, MetaDCSeg)
        got = (training.epochs, training.batch, training.lr, training.weight_decay)
        got += (method.lambda_boundary, method.lambda_dice, method.temperature, method.boundary_ratio)
        assert got == values, name
        script = read_config(name.replace("paper-", "paper-code-"))
        assert isinstance(script.method, L2B)
        got = (
            script.training.epochs,
            script.training.batch,
            script.training.lr,
            script.training.weight_decay,
        )
        got += tuple(getattr(script.method, key) for key in ("lambda_boundary", "lambda_dice", "temperature"))
        assert (*got, script.method.boundary_ratio) == values, name
        assert script.method.edge_threshold == method.edge_threshold
        assert script.training.size == training.size


@pytest.mark.parametrize("name", [name for name in preset_names() if name.startswith("paper-code-")])
def test_the_published_script(name):
    """What its options that are read and unused would do is off; views are zoomed by 4 to 30 pixels."""
    config = read_config(name)
    layers = (config.network.norm, config.network.upsampling, config.network.activation, config.network.width)
    assert layers == ("batch", "bilinear", "relu", 64)
    assert (config.training.warmup, config.training.ema_decay, config.training.augment.zoom) == (0, 0, (0, 0))
    assert (config.method.views, config.method.clean_supervision) == (True, True)
    side = config.training.size
    assert [round(share * side) for share in (config.method.zoom_least, config.method.zoom_most)] == [4, 30]


def test_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "method: supervised\nsupervised: {gold: mixed}\ntraining: {lr: 1e-3, augment: {flip: false}}"
    )
    config = read_config(str(file))
    assert isinstance(config.method, Supervised)
    assert (config.method.gold, config.training.lr, config.training.augment.flip) == ("mixed", 0.001, False)
    assert config.training.augment.rotation == 10.0  # the rest by default


def test_options_of_a_network_of_ones_own_are_free(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("network: {class_path: my.Network, init_args: {depth: 3, heads: {a: 1}}}")
    assert read_config(str(file)).network.init_args == {"depth": 3, "heads": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training: {lrr: 1}", "unknown option 'training.lrr': did you mean 'training.lr'"),
        ("zzzzz: 1", "unknown option 'zzzzz': see metadcseg train --help"),
        ("1: 2", "unknown option '1'"),
        ("training: 5", "'training' of --config .* must hold options, .* got 5"),
        ("training: {augment: []}", r"'training.augment' of --config .* got an empty list"),
        ("", "must hold options, .* got nothing"),
        ("a: [", "line 1: "),
        ("a: b: c", "line 1: mapping values are not allowed here"),
        ("method: supervized", "unknown method 'supervized': did you mean 'supervised'"),
        ("training: {lr: -1}", "training.lr must be above 0"),
        ("supervised: {gold: some}", "supervised.gold"),
        ("training: {workers: 10000000}", "training.workers must be at most 1024"),
        ("training: {threads: 100000000000}", "training.threads must be at most 1024"),
        ("network: {init_args: '!!python/object/apply:os.system [x]'}", "network.init_args"),
        ("network: {init_args: '%s'}" % ("[" * 9000), "network.init_args"),
        ("method: supervised\nmetadcseg: {eta: -1}", "metadcseg.eta must be above 0"),  # whichever is chosen
        ("training: {lr: %s}" % ("x" * 100_000), r"--training.lr must be a number, got x{57}\.\.\."),
        ("method: %s" % ("x" * 100_000), "unknown method 'xxx"),
        ("training: {%s: 1}" % ("x" * 900), r"unknown option 'training\.xxx.*\.\.\.'"),
        (
            "network: {init_args: [%s]}" % ("1, " * 50_000),
            r"--network.init_args must be a mapping .* got '\[1, 1",
        ),
        ("training: {augment: {zoom: [%s]}}" % ("1, " * 50_000), "training.augment.zoom"),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_wrong_in_a_file(tmp_path, text, says):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=says) as found:
        read_config(str(file))
    assert len(str(found.value)) < 900  # however long what it repeats is


def test_what_a_preset_says_of_another_network_is_left_out_with_a_note(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("network: {name: maxformer, width: 8, norm: group}\n")
    with pytest.warns(
        Note, match=r"network.width 8 of a preset or file is left out: maxformer has no such option"
    ):
        network = read_config(str(mine)).network
    assert (network.name, network.width, network.size, network.norm) == ("maxformer", None, "small", "group")
    parser = ArgumentParser(prog="metadcseg train", exit_on_error=False)
    add_run_options(parser)
    with pytest.raises(InputError, match=r"network\.width 8: maxformer has no width"):
        run_config(parse(parser, ["--network.name", "maxformer", "--network.width", "8"]))


@pytest.fixture
def of_train():
    return make_parser("train", "", add_options)


@pytest.mark.parametrize(
    ("in_file", "typed", "epochs"),
    [
        ("epochs: 3", ["--training.epochs", "1"], 1),
        ("training: {epochs: 3}", ["--epochs", "1"], 1),
        ("training: {epochs: 3}", ["--epochs=1", "--training.epochs=2"], 2),
        ("training: {epochs: 3}", ["--training.epochs=2", "--epochs", "1"], 1),
        ("epochs: 3", [], 3),
    ],
)
def test_of_the_short_and_the_whole_name_the_last_counts(of_train, tmp_path, in_file, typed, epochs):
    (tmp_path / "c.yaml").write_text(in_file)
    options = parse(of_train, ["--config", str(tmp_path / "c.yaml"), *typed])
    assert run_config(options).training.epochs == epochs
    assert "training.epochs" in options.said


@pytest.mark.parametrize(
    "typed", [["--conf", "small"], ["--epoch", "1"], ["--training.siz", "32"], ["--confi=x"]]
)
def test_options_are_written_out(of_train, typed):
    with pytest.raises(InputError, match=r"unknown option .*: did you mean"):
        parse(of_train, typed)


@pytest.mark.parametrize("typed", [["--training", "t.yaml"], ["--network={}"], ["--calibrated", "{}"]])
def test_a_group_is_no_option(of_train, typed):
    with pytest.raises(InputError, match=r"is a group of options: write one, such as --\w+\.\w+, or"):
        parse(of_train, typed)


def test_what_auto_would_choose_for_another_network_is_left_out_without_a_word(of_train):
    words = ["--network.name", "maxformer", "--network.size", "small"]
    options = parse(of_train, words).again({"network": {"width": 16}}, "auto")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_config(options).network.width is None
    with pytest.warns(Note, match="network.width 16 of a preset or file is left out"):
        run_config(parse(of_train, [*words, "--config", "small"]))


def test_what_a_tuple_must_be_is_said(of_train):
    with pytest.raises(
        InputError, match=r"patch must be 3 values, a whole number each or null, got \[1, 2\]"
    ):
        parse(of_train, ["--training.patch", "[1,2]"])
