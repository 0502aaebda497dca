import pytest
import yaml
from jsonargparse import ArgumentParser

from metadcseg.cli.config import read_config
from metadcseg.cli.parsing import _sentence, config_path, parse
from metadcseg.errors import InputError


@pytest.fixture
def parser():
    made = ArgumentParser(prog="metadcseg act", exit_on_error=False)
    made.add_argument("--config", type=str)
    made.add_argument("--out", type=str, default="here")
    made.add_argument("--label", type=str, default=None)
    made.add_argument("--fast", action="store_true")
    made.add_argument("--training.lr", type=float, default=1.0)
    made.add_argument("--training.zoom", type=tuple[int, int], default=(0, 0))
    made.add_argument("--training.note", type=str | None, default="none")
    made.add_argument("--training.own", type=dict, default={})
    return made


def write(path, tree):
    path.write_text(yaml.safe_dump(tree))
    return str(path)


def test_a_file_says_what_the_words_would(parser, tmp_path):
    own = {"depth": 3, "parts": [1, {"a": None}]}
    tree = {"out": "there", "training": {"lr": 0.5, "zoom": [1, 2], "note": None, "own": own}}
    read = parse(parser, ["--config", write(tmp_path / "a.yaml", tree)])
    assert (read.out, read.training.lr, read.training.zoom, read.training.note) == (
        "there",
        0.5,
        (1, 2),
        None,
    )
    assert read.training.own == own


@pytest.mark.parametrize("text", ["1e-3", "-1e-3", "0.5", ".5", "1.50", "5", "+5", "1_000"])
def test_numbers_as_yaml_writes_them(parser, tmp_path, text):
    (tmp_path / "a.yaml").write_text(f"training: {{lr: {text}}}")
    assert parse(parser, ["--config", str(tmp_path / "a.yaml")]).training.lr == float(text)


@pytest.mark.parametrize(("text", "number"), [("0x10", 16), ("1_000", 1000), ("+5", 5), ("0b11", 3)])
def test_a_whole_number_in_a_file_is_what_it_is_on_the_command_line(parser, tmp_path, text, number):
    parser.add_argument("--training.epochs", type=int, default=1)
    (tmp_path / "a.yaml").write_text(f"training: {{epochs: {text}}}")
    assert parse(parser, ["--config", str(tmp_path / "a.yaml")]).training.epochs == number
    assert parse(parser, ["--training.epochs", text]).training.epochs == number


def test_words_outweigh_files_and_later_files_earlier_ones(parser, tmp_path):
    first = write(tmp_path / "a.yaml", {"training": {"lr": 0.1}, "out": "a"})
    second = write(tmp_path / "b.yaml", {"training": {"lr": 0.2}})
    assert parse(parser, ["--config", first]).training.lr == 0.1
    assert parse(parser, ["--training.lr", "0.3", "--config", first]).training.lr == 0.3
    both = parse(parser, [f"--config={first}", "--config", second])
    assert (both.training.lr, both.out) == (0.2, "a")
    assert parse(parser, ["--config", second, "--config", first]).training.lr == 0.1


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("2024-03-03", "2024-03-03"),
        ("2024-03-03 10:00:00Z", "2024-03-03 10:00:00Z"),
        ("5", "5"),
        ("001", "001"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("+5", "+5"),
        ("1e3", "1e3"),
        ("'1.50'", "1.50"),
        ("'[a]'", "[a]"),
        ("'yes'", "yes"),
    ],
)
def test_a_text_stays_what_it_is(parser, tmp_path, said, read):
    (tmp_path / "a.yaml").write_text(f"label: {said}\ntraining: {{note: {said}, own: {{a: {said}}}}}")
    told = parse(parser, ["--config", str(tmp_path / "a.yaml")])
    assert (told.label, told.training.note) == (read, read)
    assert str(told.training.own["a"]) == read


@pytest.mark.parametrize(
    ("said", "got"),
    [
        ("label: [a, b]", "label must be text, got a list of 2: write one text, in quotes"),
        ("label: {a: b}", "label must be text, got an object of 1"),
        ("label: yes", "label must be text, got true"),
        ("label: null", "label must be text, got null"),
        ("label: 1.50", "label must be text, got 1.5: write one text, in quotes"),
        ("training: {note: 1.0e-3}", "training.note must be text, got 0.001"),
        ("training: {note: [a]}", "training.note must be text, got a list of 1"),
        ("training: {own: {a: !!binary aGk=}}", "training.own holds .*: write text, numbers, lists or mapp"),
        ("label: !!timestamp 2024-03-03", r"label must be text, got datetime\.date"),
    ],
)
def test_what_is_no_text_is_not_taken_for_one(parser, tmp_path, said, got):
    (tmp_path / "a.yaml").write_text(said)
    with pytest.raises(InputError, match=rf"a\.yaml: {got}"):
        parse(parser, ["--config", str(tmp_path / "a.yaml")])


@pytest.mark.parametrize("key", ["fast", "config", "help", "outt"])
def test_what_a_file_cannot_say(parser, tmp_path, key):
    with pytest.raises(InputError, match=f"a.yaml: unknown option '{key}'"):
        parse(parser, ["--config", write(tmp_path / "a.yaml", {key: True})])


def test_a_command_without_files_has_no_such_option():
    plain = ArgumentParser(prog="metadcseg act", exit_on_error=False)
    with pytest.raises(InputError, match="unknown option --config"):
        parse(plain, ["--config", "small"])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smal", "unknown preset 'smal': did you mean 'small'"),
        ("mine.yaml", "--config mine.yaml: there is no such file"),
        ("sub/mine", "--config sub/mine: there is no such file"),
        (".", "--config .: it is a folder"),
    ],
)
def test_no_such_configuration(monkeypatch, tmp_path, name, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=says):
        config_path(name)


def test_a_file_goes_before_a_preset_of_its_name(monkeypatch, tmp_path):
    (tmp_path / "small").write_text("training: {epochs: 7}")
    monkeypatch.chdir(tmp_path)
    assert read_config("small").training.epochs == 7


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("Parser key \"a.b\": Expected a <class 'bool'>. Got value: x", "--a.b must be true or false, got x"),
        (
            "Parser key \"a\": Does not validate against any of the Union subtypes\nSubtypes: [<class 'int'>, "
            "<class 'NoneType'>]\nErrors:\n - Expected a <class 'int'>\nGiven value type: <class 'str'>\n"
            "Given value: x y",
            "--a must be a whole number or null, got x y",
        ),
        (
            'Parser key "a": Expected a tuple with 2 elements. Got value: [4]',
            "--a must be a tuple with 2 elements, got [4]",
        ),
        ("something  new\nfrom the parser", "something new from the parser"),
        ("Group 'training' does not accept option 'lrr'", "unknown option --training.lrr"),
    ],
)
def test_the_parsers_words_become_ours(message, sentence):
    assert _sentence(message, ArgumentParser(prog="metadcseg act")) == sentence
