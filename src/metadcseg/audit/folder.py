"""The folder of an audit: whose it is, what was learned before the first case, and which cases are done."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from msgspec import Meta, Struct

from metadcseg.audit.about import FORMAT, RECORD
from metadcseg.audit.annotator_tables import AnnotatorTables
from metadcseg.audit.calibration import Calibration, read_calibration
from metadcseg.audit.probability import Witnesses
from metadcseg.errors import InputError
from metadcseg.files import LOCK, lock_folder, write_bytes
from metadcseg.schemas import read_plain, read_record
from metadcseg.scratch import sweep

STATE = "state.json"
_Present = Literal["metadcseg-audit-state/3"]
_Earlier = Literal["metadcseg-audit-state/1", "metadcseg-audit-state/2"]
(_STATE_FORMAT,) = get_args(_Present)


class FormatSaid(Struct):
    """What every version of ``state.json`` says."""

    format: _Present | _Earlier


class WitnessesSaid(Struct):
    """``witnesses`` of ``state.json``: (L, L, B) and (L, L) numbers, and the weight of the network."""

    weight: Annotated[float, Meta(ge=0, le=1)]
    table: list[list[list[float]]] | None = None
    log_odds: list[list[float]] | None = None


class CalibrationSaid(Struct):
    """``calibration`` of ``state.json``."""

    sums: Calibration


class StateSaid(Struct):
    """``state.json``: whose folder it is, and what was learned."""

    format: _Present
    identity: str
    told: dict[str, Any] = {}
    witnesses: WitnessesSaid | None = None
    calibration: CalibrationSaid | None = None
    annotators: dict[str, Any] | None = None


@dataclass(frozen=True)
class AuditFolder:
    """Where the files of an audit lie.

    Args:
        path: the folder.
        told: what the audit is of: run, set, split and options, by name; JSON values only.
    """

    path: Path
    told: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """Names the folder: sha256 of what it is an audit of."""
        return hashlib.sha256(json.dumps(self.told, sort_keys=True).encode()).hexdigest()

    def hold(self) -> AbstractContextManager[None]:
        """Hold the folder for one process, after it was made sure that it is empty or of the same audit.

        Raises:
            InputError: where it holds something else, or another process has it.
        """
        self._refuse_foreign()
        return lock_folder(self.path, f"--out {self.path} is being written by another audit: wait for it")

    def read_state(self) -> tuple[Witnesses, Calibration, AnnotatorTables | None] | None:
        """Return what was learned before the first case; None where that is still to be done."""
        state = self._state()
        if state is None or "witnesses" not in state:
            return None
        held = state["witnesses"]
        try:
            table, odds = (
                None if held.get(name) is None else torch.tensor(held[name]) for name in ("table", "log_odds")
            )
            told = state.get("annotators")
            annotators = None if told is None else AnnotatorTables.from_dict(told)
            calibration = read_calibration(state["calibration"])
            return Witnesses(table, odds, held["weight"]), calibration, annotators
        except (KeyError, ValueError, TypeError) as error:  # rows of several lengths
            raise InputError(f"{self.path / STATE} is damaged ({error}): {self._way_out}") from error

    def begin(self) -> None:
        """Write whose folder it is, where that is not written yet."""
        if self._state() is None:
            self._write({})

    def write_state(
        self, witnesses: Witnesses, calibration: Calibration, annotators: AnnotatorTables | None = None
    ) -> None:
        """Write what was learned, whole or not at all."""
        held = {"table": witnesses.table, "log_odds": witnesses.log_odds}
        plain: dict[str, Any] = {name: None if part is None else part.tolist() for name, part in held.items()}
        plain["weight"] = witnesses.weight
        known = {} if annotators is None else {"annotators": annotators.to_dict()}
        self._write({"witnesses": plain, "calibration": calibration.to_dict(), **known})

    def _write(self, learned: Mapping[str, Any]) -> None:
        state = {"format": _STATE_FORMAT, "identity": self.identity, "told": dict(self.told), **learned}
        write_bytes(self.path / STATE, (json.dumps(state, indent=1) + "\n").encode())

    def write_record(self, record: Mapping[str, Any], identity: str) -> None:
        """Write ``audit.json``, whole or not at all.

        Args:
            record: what it holds.
            identity: that decisions name.
        """
        text = json.dumps({"format": FORMAT, "identity": identity, **record}, indent=1, allow_nan=False)
        write_bytes(self.path / RECORD, text.encode() + b"\n")

    def _state(self) -> dict[str, Any] | None:
        file = self.path / STATE
        if not file.is_file():
            return None
        if read_record(file, FormatSaid, self._way_out).format in get_args(_Earlier):
            raise InputError(
                f"--out {self.path} holds an audit of an earlier version, which judged otherwise: it can be "
                "reviewed and accepted, but give another --out to audit anew"
            )
        return read_plain(file, StateSaid, self._way_out)

    @property
    def _way_out(self) -> str:
        return f"give another --out, or remove {self.path}"

    def _refuse_foreign(self) -> None:
        state = self._state()
        if state is None:
            sweep(self.path)  # of an audit that was killed in its first moment
            if self.path.exists() and (
                not self.path.is_dir() or any(p.name != LOCK for p in self.path.iterdir())
            ):
                raise InputError(f"--out {self.path} is not empty and holds no audit: give another folder")
            return
        if state["identity"] != self.identity:
            before = state.get("told", {})
            other = [name for name, value in self.told.items() if before.get(name) != value]
            raise InputError(
                f"--out {self.path} holds an audit with another {', '.join(other) or 'version'}: give the same, or "
                "another --out"
            )
