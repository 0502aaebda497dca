"""Cases judged by several processes: the same bits, and an audit that was stopped goes on."""

import multiprocessing
import shutil

import pytest
import torch
from tests.unit.audit.test_run import IDS, write_set
from tests.unit.evaluation.fakes import write_fake_run

from metadcseg.audit.run import audit_run
from metadcseg.errors import InputError


@pytest.fixture
def prepared(tmp_path):
    return write_set(tmp_path / "set")


@pytest.fixture
def run(tmp_path, prepared):
    return write_fake_run(tmp_path / "run", prepared)


def content(folder):
    """Return all that an audit wrote; of the page, which names the folder, what is beside it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "index.html")
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_any_number_of_processes_writes_the_same_bits_also_after_a_stop(tmp_path, run, prepared):
    threads, used = torch.get_num_threads(), []
    torch.set_num_threads(2)  # whose sums differ in the last bit

    def count(*_):
        used.append(torch.get_num_threads())

    audit_run(run, tmp_path / "none", prepared, trust_code=True, progress=count)
    assert (used, torch.get_num_threads()) == ([1, 1, 1], 2)
    torch.set_num_threads(threads)
    out, seen = tmp_path / "stopped", []
    shutil.copytree(tmp_path / "none", out)
    for path in (*(out / "cases").iterdir(), *(out / "wrong").iterdir(), out / "audit.json"):
        path.unlink()
    (out / "wrong" / "c_.._d.png").mkdir()  # no file can take its place
    how = {"trust_code": True, "progress": lambda *told: seen.append(told)}
    with pytest.raises(InputError, match=f"case '{IDS[2]}': "):
        audit_run(run, out, prepared, workers=1, **how)
    assert multiprocessing.active_children() == []
    assert seen == [(1, 3), (2, 3)]
    (out / "wrong" / "c_.._d.png").rmdir()
    first = next((out / "cases").iterdir())
    first.unlink()
    audit_run(run, out, prepared, workers=2, **how)
    assert seen[2:] == [(1, 3), (2, 3), (3, 3)]
    assert content(out) == content(tmp_path / "none")


def test_a_number_of_processes_that_is_none(tmp_path, run, prepared):
    with pytest.raises(InputError, match=r"--workers must be a number of processes from 0 to \d+, got -1"):
        audit_run(run, tmp_path / "audit", prepared, trust_code=True, workers=-1)
    assert not (tmp_path / "audit").exists()
