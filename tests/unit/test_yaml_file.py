"""YAML of a user's costs no more than it is long, and whatever is wrong with it is one sentence."""

import resource
import time

import pytest

from metadcseg.cli.main import main
from metadcseg.errors import InputError
from metadcseg.yaml_file import plain_yaml, read_yaml


def bomb(first, later):
    """Return nine lines, each of which stands for nine times the one before."""
    lines = [f"a0: &a0 {first}"]
    return "\n".join(
        [
            *lines,
            *(f"a{one}: &a{one} {later.format(', '.join([f'*a{one - 1}'] * 9))}" for one in range(1, 10)),
        ]
    )


HOSTILE = {
    bomb("[x, x, x, x]", "[{}]"): "fewer aliases",
    bomb("{x: 1}", "{{<<: [{}]}}"): "fewer aliases",
    bomb("!!pairs [{k: 1}]", "!!pairs [{{k: [{}]}}]"): "fewer aliases",
    "seed: " + "9" * 5000: "line 1: a number of 5000 digits",
    "seed: 0x" + "f" * 5000: "a number of 5002 digits",
    "seed: 1" + ":59" * 2000: "a number of 6001 digits",
    "[" * 100_000: "nested too deeply",
    "- " * 60 + "1": "nested more than 50 levels deep",
    "training:\n  lr: 1\n  size: 64\n  lr: 2\n": "line 4: 'lr' stands there for the second time",
    "{a: 1, a: 1}": "'a' stands there for the second time",
    "{1: a, 1.0: b}": "'1.0' stands there for the second time",
    "{0x1: a, 0x1: b}": "'0x1' stands there for the second time",
    "{b: &b {x: 1}, c: {<<: *b, <<: *b}}": "'<<' stands there for the second time",
    "training: &a {lr: *a}": "an alias .* within what it stands for",
    "seed: .nan": "holds nan, a number must be finite",
    "training: {lr: [-.inf]}": "holds -inf, a number must be finite",
    "seed: !!float ''": "holds a value that is none",
    "seed: !!timestamp x": "holds a value that is none",
    "seed: !!python/object/apply:os.system ['true']": "line 1: could not determine a constructor",
    "seed: \0": "write it as YAML",
    "seed: 1\n---\nseed: 2": "line 2: but found another document",
}


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:30])
def test_hostile_yaml(text):
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=HOSTILE[text]):
        plain_yaml(text, "x.yaml")
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_aliases_and_merges_of_a_reasonable_size_are_read(tmp_path):
    (tmp_path / "x.yaml").write_text("\ufeffa: &a {x: 1}\nb: {<<: *a, y: 2.5}\nc: [*a, *a]\nd: no\n", "utf-8")
    assert read_yaml(tmp_path / "x.yaml", "x") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2.5},
        "c": [{"x": 1}, {"x": 1}],
        "d": False,
    }


@pytest.mark.parametrize("text", ["2024-03-03", "2024-99-99", "2024-03-03T10:00:00Z", "2024-03-03 1:00:00.5"])
def test_a_date_is_text(text):
    assert plain_yaml(f"{{a: {text}, {text}: [{text}]}}", "x.yaml") == {"a": text, text: [text]}


@pytest.mark.parametrize("text", ["001", "010", "-07", "0x1F", "0b11", "1_000", "1:30", "+5", "-0"])
def test_a_number_that_yaml_would_write_otherwise_is_text(text):
    assert plain_yaml(f"{{a: {text}, {text}: [{text}]}}", "x.yaml") == {"a": text, text: [text]}


@pytest.mark.parametrize("number", [0, 7, -12, 2**64])
def test_a_number_is_one(number):
    assert plain_yaml(f"{{a: {number}, {number}: [{number}]}}", "x.yaml") == {"a": number, number: [number]}


def test_names_are_one_only_where_they_are_written_alike():
    assert plain_yaml("{1: a, 01: b, 0x1: c}", "x.yaml") == {1: "a", "01": "b", "0x1": "c"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bomb("[x, x, x, x]", "[{}]").encode(), "fewer aliases"),
        (b"training:\n  lr: '&a [*a, *a]'\n", "training.lr holds aliases within a text"),
        (b"\xff\xfe", "is not UTF-8 at byte 0"),
        (b"x: " + b"a" * 2**20, "larger than 1 MiB"),
    ],
    ids=["bomb", "aliases in a text", "no UTF-8", "too large"],
)
def test_a_hostile_config_is_one_sentence(tmp_path, capfd, content, says):
    (tmp_path / "x.yaml").write_bytes(content)
    assert main(["train", "--data", "x", "--out", "y", "--config", str(tmp_path / "x.yaml")]) == 2
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert says in said[0]
