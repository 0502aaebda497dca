import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from metadcseg.training.logging.progress import Reporter, TimeLeft


@pytest.fixture
def clock():
    return SimpleNamespace(now=0.0)


def timer(clock, **options):
    return TimeLeft(clock=lambda: clock.now, **options)


def test_time_left_covers_what_ends_an_epoch(clock):
    left = timer(clock, epochs=3, steps=2, done=0, close=4)
    assert left.seconds() is None
    clock.now = 1
    left.step(1)
    assert left.seconds() == 5 + 3 * 4  # five steps, and three ends of as long as four steps
    clock.now = 2
    left.step(2)
    clock.now = 12
    left.close()
    assert left.seconds() == 4 + 2 * 10  # now the end of an epoch has been seen


def test_time_left_of_a_run_that_goes_on_counts_its_own_steps_alone(clock):
    left = timer(clock, epochs=10, steps=10, done=55)
    clock.now = 10
    left.step(60)
    clock.now = 11
    left.close()
    assert left.seconds() == 40 * 2 + 4 * 1


def test_a_terminal_sees_that_an_epoch_is_validated_and_how_long_is_left(monkeypatch):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    averages = SimpleNamespace(latest=lambda name: 0.5)
    monkeypatch.setattr("metadcseg.training.logging.progress._REFRESH_SECONDS", 0)
    with Reporter(console, epochs=2, steps=1, done=0) as reporter:
        reporter.step(0, 0, averages)
        reporter._bar.refresh()
        assert "left 0:00:0" in out.getvalue()
        reporter.close(0)
        reporter._bar.refresh()
        assert "epoch 1/2, validating" in out.getvalue()
