import os

from metadcseg.cli.commands import demo


def test_trainings_hear_of_ctrl_c_from_the_demo_alone(tmp_path):
    """A terminal sends it to a whole session; asked twice, a training stops without saving."""
    child = demo._start(["--version"], tmp_path, "binned")
    try:
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
    finally:
        assert child.wait() == 0
    assert demo._log(tmp_path, "binned").read_text().startswith("metadcseg ")
