import io
import json

import pytest
from rich.console import Console

from metadcseg.cli.commands.console import (
    check_seed,
    parse_remap,
    plain_output,
    print_json,
    progress_bar,
    score_table,
)
from metadcseg.errors import InputError


@pytest.mark.parametrize(
    ("text", "remap"), [("7:1,900:2", {7: 1, 900: 2}), ("255:255", {255: 255}), (" 7 : 1 ", {7: 1})]
)
def test_remap(text, remap):
    assert parse_remap(text) == remap


@pytest.mark.parametrize("text", ["", "7", "7:1:2", "a:1", "7:1,", "7=1", "7:1.5"])
def test_remap_of_another_form(text):
    with pytest.raises(InputError, match="--remap must look like 7:1,900:2"):
        parse_remap(text)


def test_seeds():
    assert [check_seed(seed) for seed in (0, 7, 2**63 - 1)] == [0, 7, 2**63 - 1]
    for seed in (-1, 2**63):
        with pytest.raises(InputError, match=f"--seed must be .* got {seed}"):
            check_seed(seed)


def test_json_is_alone_and_plain(capsys, tmp_path):
    print_json({"path": tmp_path, "value": 1.5, "name": "Käse \udce4"})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"path": str(tmp_path), "value": 1.5, "name": "Käse \udce4"}
    assert out.isascii()
    assert err == ""


def test_plain_output_prints_what_it_gets(capsys):
    line = "[bold]runs[/bold]/:smile:/" + "long" * 60
    plain_output().print(line)
    assert capsys.readouterr().out == line + "\n"


def test_a_bar_shows_nothing_but_on_a_terminal():
    for terminal in (False, True):
        file = io.StringIO()
        with progress_bar(Console(file=file, force_terminal=terminal), "working") as advance:
            advance(1, 2)
        assert ("working" in file.getvalue()) == terminal


def test_scores_in_a_table():
    summary = {
        metric: {"mean": mean, "sd": sd, "n": 2}
        for metric, mean, sd in (
            ("dsc", 0.8, 0.1),
            ("iou", 0.7, None),
            ("hd", 12.34, 1.0),
            ("hd95", 9.0, 0.5),
            ("nsd", 0.5, 0.2),
        )
    }
    file = io.StringIO()
    Console(file=file, width=120).print(
        score_table([("a run", {"summary": summary, "empty_predictions": 3})], "the title")
    )
    told = file.getvalue()
    assert all(part in told for part in ("the title", "a run", "0.800 ± 0.100", "0.700", "12.3 ± 1.0", " 3 "))
    assert "None" not in told


def test_lengths_are_in_mm_where_all_cases_have_them():
    value = {"mean": 1.25, "sd": None, "n": 3}
    summary = dict.fromkeys(("dsc", "iou", "hd", "hd95", "nsd", "hd95_mm", "nsd_mm"), value)
    for count, unit in ((3, "HD (mm)"), (2, "HD (px)")):
        record = {
            "summary": summary | {"hd_mm": {"mean": 40.0, "sd": None, "n": count}},
            "empty_predictions": 0,
        }
        file = io.StringIO()
        Console(file=file, width=120).print(score_table([("a run", record)], "the title"))
        assert unit in file.getvalue()
        assert ("40.0" in file.getvalue()) == (count == 3)
