"""Write the review page of an audit case by case, so that a run that was killed goes on where it was."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from metadcseg.audit.page.html import render
from metadcseg.audit.page.pictures import planes, thumbnail
from metadcseg.audit.page.script import (
    first_line,
    index_entry,
    part_lines,
    read_record,
    record_of,
    slices_per_part,
)
from metadcseg.audit.page.summary import PageSummary
from metadcseg.audit.records import LEVELS, Arrays, AuditedCase
from metadcseg.errors import InputError
from metadcseg.files import atomic_file, output_folder, safe_names, write_bytes
from metadcseg.reading import open_regular

PAGE = "index.html"
"""The page."""

FILES = "page"
"""The folder beside it with the files of its cases."""

_LONGEST_RECORD = 2**26  # bytes of its line
_FORMAT = b"1"  # of the files of a case: others are written again


class ReviewPage:
    """The page on which an audit is reviewed, written case by case.

    It opens from disk: ``index.html`` holds its own style and script, ``page/cases/`` a script for every case, which
    is loaded when the case is looked at, ``page/thumbs/`` the pictures of the gallery.

    Args:
        out: the audit's folder; it is made where it is missing.
        title: heading of the page.
        classes: names, the background first.
        summary: what the head says. It may be replaced by another until :meth:`close`.
        identity: names the audit; decisions are kept and given back under it, unless :meth:`close` is told another.
        fingerprint: of the audited set, for ``decisions.json``.

    Raises:
        InputError: for fewer than two classes, or where the folder cannot be made.

    Example:
        >>> import tempfile
        >>> from metadcseg.audit.records import LEVELS, Region
        >>> given, better = np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.uint8)
        >>> better[0, 2:6, 2:6] = 1
        >>> region = Region(1, "missing", 0, 1, 16, None, 0.9, 14.4, ((0, 1), (2, 6), (2, 6)))
        >>> case = AuditedCase("a<b>", "a_b_", "train", (1, 8, 8), None, 0.1, (0.0, 0.4), (region,))
        >>> arrays = Arrays(np.zeros((1, 8, 8, 3), np.uint8), given, better * np.float32(0.9),
        ...                 better.astype(np.int32), dict.fromkeys(LEVELS, better))
        >>> folder = tempfile.TemporaryDirectory()
        >>> summary = PageSummary(("1 of 1 masks is flagged.",), 0.5, "own EMA")
        >>> page = ReviewPage(Path(folder.name), "Audit", ["background", "organ"], summary, identity="ab12")
        >>> page.add(case, arrays), page.add(case, arrays)
        (True, False)
        >>> page.close().name, sorted(file.name for file in Path(folder.name, "page").rglob("*.*"))
        ('index.html', ['a_b_.jpg', 'a_b_.js'])
        >>> folder.cleanup()
    """

    def __init__(
        self,
        out: Path,
        title: str,
        classes: Sequence[str],
        summary: PageSummary,
        *,
        identity: str,
        fingerprint: str = "",
    ) -> None:
        if len(classes) < 2:
            raise InputError(f"classes must name the background and at least one more, got {list(classes)}")
        self.summary = summary
        self._out, self._title, self._classes = out, title, tuple(classes)
        self._identity, self._fingerprint = identity, fingerprint
        self._cases, self._slices, self._thumbs = (
            out / FILES / name for name in ("cases", "slices", "thumbs")
        )
        for folder in (self._cases, self._slices, self._thumbs):
            output_folder(out, FILES, folder.name)

    def add(self, case: AuditedCase, arrays: Arrays) -> bool:
        """Write the files of a case, unless they are there with the same content.

        Args:
            case: what the audit says of it.
            arrays: its pixels.

        Returns:
            Whether anything was written.

        Raises:
            InputError: for a name that is not safe or that another case of this audit has, or where the disk is full.
        """
        if safe_names([case.name]) != [case.name]:
            raise InputError(f"case {case.id!r}: name must be one that safe_names returns, got {case.name!r}")
        content = _digest(case, arrays)
        files = self._files(case.name, -(-arrays.shape[0] // slices_per_part(arrays)))
        earlier = _read(files[-1])
        if earlier is not None and earlier["identity"] == self._identity:
            if earlier["id"] != case.id:
                raise InputError(
                    f"cases {earlier['id']!r} and {case.id!r} must not share a name, {case.name!r}"
                )
            if earlier["content"] == content and all(file.exists() for file in files):
                return False
        shown = planes(arrays.image)
        record = record_of(case, arrays, shown, self._identity, content)
        write_bytes(files[0], thumbnail(shown[0], arrays, case.spacing))
        for part, file in reversed(list(enumerate(files[:0:-1]))):  # the one with the record comes last
            head = [] if part else [first_line(record)]
            with atomic_file(file) as opened:
                for line in chain(head, part_lines(case.name, part, arrays, shown)):
                    opened.write(line.encode("ascii"))
        return True

    def has(self, name: str) -> bool:
        """Return whether all files of a case are there.

        Args:
            name: of its files.
        """
        record = _read(self._cases / f"{name}.js")
        return (
            record is not None
            and record["identity"] == self._identity
            and all(file.is_file() for file in self._files(name, _parts(record)))
        )

    def _files(self, name: str, parts: int) -> list[Path]:
        """Return the files of a case in the order in which they are written: picture, last part, ..., first part."""
        further = [self._slices / f"{name}-{part}.js" for part in range(1, parts)]
        return [self._thumbs / f"{name}.jpg", *reversed(further), self._cases / f"{name}.js"]

    def digest(self) -> str:
        """Return what tells this audit from others by what was found: sha256 over its identity and all of its cases."""
        found = hashlib.sha256(self._identity.encode())
        for file, record in self._records():
            found.update(f"\n{file.stem} {record['content']}".encode("utf-8", "backslashreplace"))
        return found.hexdigest()

    def _records(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the file and record of every case of this audit, by name."""
        for file in sorted(self._cases.glob("*.js")):
            record = _read(file)
            if record is not None and record["identity"] == self._identity:
                yield file, record

    def close(self, identity: str | None = None) -> Path:
        """Write ``index.html`` with all cases of this audit, worst first, and drop files of earlier ones.

        Cases that an earlier process added count, too. The order is that of the expected DSC, then of the id; a case
        whose DSC is not known comes last.

        Args:
            identity: under which decisions are kept and given back; None: that of the audit.

        Returns:
            The page.

        Raises:
            InputError: where the disk is full or a folder cannot be written.
        """
        ranks: list[tuple[bool, float, str, str]] = []
        needed: set[Path] = set()
        for file, record in self._records():
            dsc = record["dsc"]
            ranks.append((dsc is None, dsc or 0.0, record["id"], file.stem))
            needed.update(self._files(file.stem, _parts(record)))
        for folder in (self._cases, self._slices, self._thumbs):
            for file in folder.iterdir():
                if file not in needed and (file.is_symlink() or not file.is_dir()):
                    file.unlink()
        entries = (index_entry(_known(self._cases / f"{name}.js")) for *_, name in sorted(ranks))
        page = self._out / PAGE
        with atomic_file(page) as opened:
            for piece in render(
                self._title,
                self._classes,
                self.summary,
                self._identity if identity is None else identity,
                self._fingerprint,
                entries,
            ):
                opened.write(piece)
        return page


def _parts(record: dict[str, Any]) -> int:
    """Return in how many scripts the slices of a case lie."""
    parts: int = -(-record["shape"][0] // record["perPart"])
    return parts


def _known(file: Path) -> dict[str, Any]:
    record = _read(file)
    if record is None:
        raise InputError(f"{file} changed while the page was written; run the audit again")
    return record


def _read(file: Path) -> dict[str, Any] | None:
    """Return the record of a case; None where there is none."""
    try:
        with open_regular(file) as opened:
            return read_record(opened.readline(_LONGEST_RECORD).decode("ascii", "replace"))
    except (FileNotFoundError, InputError):  # what is no file is replaced
        return None


def _digest(case: AuditedCase, arrays: Arrays) -> str:
    """Return a digest of all that the files of a case are made of."""
    found = hashlib.blake2b(_FORMAT + repr(case).encode("utf-8", "backslashreplace"), digest_size=16)
    levels = [arrays.corrected[level] for level in LEVELS]
    for array in (arrays.image, arrays.given, arrays.wrong, arrays.regions, *levels):
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
