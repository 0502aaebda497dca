"""What a finished audit says of itself in ``audit.json``, and the set that it is of; read as hostile."""

from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from metadcseg.data.store.content import identity_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.results.records import same_content
from metadcseg.schemas import read_plain

FORMAT = "metadcseg-audit/1"
RECORD = "audit.json"


class AuditedSet(Struct):
    """``set`` of ``audit.json``."""

    path: str
    fingerprint: str
    content: str | None = None


class About(Struct):
    """What is read again of ``audit.json``."""

    format: Literal["metadcseg-audit/1"]
    identity: str
    classes: Annotated[list[str], Meta(min_length=2, max_length=255)]
    set: AuditedSet


def read_about(folder: Path) -> dict[str, Any]:
    """Return ``audit.json``, of which ``identity``, ``classes`` and the set's ``path`` and ``fingerprint`` are checked.

    Args:
        folder: of an audit.

    Raises:
        InputError: where the folder is not that of a finished audit, or the file is not what an audit writes.
    """
    path = folder / RECORD
    if not path.is_file():
        raise InputError(
            f"{folder} is no audit (it has no {RECORD}): it is not the folder of a finished audit, so give the "
            "--out of one; decisions.json belongs into it"
        )
    return read_plain(path, About, "run the audit again")


def audited_set(audit: Path, data: Path | None = None) -> PreparedSet:
    """Return the set that was audited.

    Args:
        audit: the folder of the audit.
        data: the set, where it is not where it was.

    Raises:
        InputError: where there is no audit, or the set is gone or another one.
    """
    about = read_about(audit)
    path = data or Path(about["set"]["path"])
    if data is None and not path.exists():
        raise InputError(f"{path}, which was audited, is gone: say with --data where the set is")
    prepared = PreparedSet.open(path)
    if not same_content(about["set"], identity_of(prepared)):
        raise InputError(
            f"{path} is another set than the one that was audited: name that one with --data, or audit again"
        )
    return prepared
