"""What `benchmark` prints while it goes on."""

from types import SimpleNamespace

from rich.console import Console

from metadcseg.cli.commands.benchmark import _News


def entry(name, status="waiting", error=None):
    return {"id": name, "status": status, "seconds": 0.0, "error": error}


def test_each_run_has_a_number_and_each_reason_is_said_once(capsys):
    entries = {name: entry(name) for name in "abcd"}
    news = _News(SimpleNamespace(entries=entries), Console())
    entries["c"].update(status="done")
    news.tell("done", "failed")
    for name in "ab":  # their set cannot be made
        entries[name].update(status="failed", error="no such folder")
    news.tell("done", "failed")
    news.tell("done", "failed")
    assert capsys.readouterr().out.splitlines() == [
        "1 of 4: c done (0 s)",
        "2 of 4: a failed (0 s): no such folder",
        "3 of 4: b failed (0 s)",
    ]
