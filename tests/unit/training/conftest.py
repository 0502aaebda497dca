from pathlib import Path

import pytest
from tests.unit.training.helpers import Fake, make_set

from metadcseg.data.store.reader import PreparedSet
from metadcseg.methods import METHODS


@pytest.fixture(scope="session")
def disks(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    return make_set(tmp_path_factory.mktemp("sets") / "disks")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(METHODS, "fake", Fake)
