"""How far given labels are to be trusted: a map or a number for each case.

The folder ``label_confidence/`` holds maps, ``label_confidence.csv`` numbers.
Maps have the stem of their image and its size, from 0 to 1, or in integers from 0 to 255; integers of 0 and 1 alone
mean not at all and fully. ``label_confidence.csv`` has the columns ``id`` and ``label_confidence``, from 0 to 1.
Cases of which neither says anything are fully trusted.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.data.case_names import Meant, case_called
from metadcseg.data.findings import Finding
from metadcseg.data.tables import read_table
from metadcseg.errors import InputError


def label_confidence_of(
    folder: Path,
    images: Mapping[str, Path],
    files_in: Callable[[Path], tuple[dict[str, Path], list[Finding]]],
) -> tuple[dict[str, Path | float], list[Finding]]:
    """Find what a folder says about trust.

    Args:
        folder: of the data set.
        images: stem -> image file.
        files_in: returns stem -> file of a folder, and what is wrong there.

    Returns:
        Stem -> file or number, and what is wrong.
    """
    files, findings = files_in(folder / "label_confidence")
    table, found = _table(folder / "label_confidence.csv", images)
    findings += found
    meant = Meant(images)
    for where, stem in [(str(path), stem) for stem, path in files.items()] + [
        (str(folder / "label_confidence.csv"), stem) for stem in table
    ]:
        if stem not in images:
            hint = meant.hint(stem, "rename it or add the image")
            findings.append(
                Finding("error", "trust-unknown", where, f"{where}: there is no image '{stem}': {hint}")
            )
    for stem in files.keys() & table.keys():
        sentence = (
            f"{files[stem]}: label_confidence.csv has a number for '{stem}', too: remove one of the two"
        )
        findings.append(Finding("error", "trust-unknown", str(files[stem]), sentence))
    for before in (folder / "trust", folder / "trust.csv"):
        if before.exists():
            name = before.name.replace("trust", "label_confidence")
            sentence = f"{before} is not read: rename it to {name}, as it is called today (and the column of the table)"
            findings.append(Finding("warning", "trust-renamed", str(before), sentence))
    known: dict[str, Path | float] = {**table, **files}
    return {stem: value for stem, value in known.items() if stem in images}, findings


def as_label_confidence(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Return trust as it is stored.

    Args:
        values: from 0 to 1, or integers from 0 to 255. Integers of 0 and 1 alone are a mask of good pixels: a trust
            of 1 / 255 is nothing that anybody would draw.
        where: the file or case, for sentences.

    Returns:
        Of the same shape, uint8 from 0 to 255.

    Raises:
        InputError: where a number is out of range.

    Example:
        >>> [as_label_confidence(np.array(values), "x").tolist() for values in ([0.0, 0.2, 1.0], [7, 255], [0, 1])]
        [[0, 51, 255], [7, 255], [0, 255]]
    """
    if values.dtype.kind in "iu" and values.max() > 1:
        values = values / 255
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise InputError(f"{where}: trust must lie between 0 and 1 (integers: 0 and 255): correct it")
    label_confidence: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
    return label_confidence


def _table(path: Path, images: Collection[str]) -> tuple[dict[str, float], list[Finding]]:
    if not path.exists():
        return {}, []
    try:
        header, rows = read_table(path)
    except InputError as error:
        return {}, [_error(path, str(error))]
    if not {"id", "label_confidence"} <= set(header):
        got = ", ".join(header) or "nothing"
        return {}, [
            _error(
                path, f"{path}: the first line names the columns id,label_confidence, got '{got}': correct it"
            )
        ]
    table: dict[str, float] = {}
    findings = []
    for number, row in rows:
        name, text = row.get("id", ""), row.get("label_confidence", "")
        stem = case_called(name, images) or name
        try:
            label_confidence = float(text)
        except ValueError:
            label_confidence = -1.0
        if not 0 <= label_confidence <= 1:
            sentence = (
                f"{path}, line {number}: label_confidence is a number from 0 to 1, got {text!r}: correct it"
            )
            findings.append(_error(path, sentence))
            continue
        if stem in table:
            findings.append(_error(path, f"{path}, line {number}: '{stem}' stands twice: remove one line"))
        table[stem] = label_confidence
    return table, findings


def _error(path: Path, sentence: str) -> Finding:
    return Finding("error", "trust-unknown", str(path), sentence)
