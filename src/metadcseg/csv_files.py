"""Tables as CSV that a spreadsheet shows as they are: text in them is never taken for a formula."""

import csv
import io
import re
from collections.abc import Iterable

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_text(text: str) -> str:
    """Return text that no spreadsheet takes for a formula; :func:`from_csv_text` is its inverse.

    Text that begins with =, +, -, @, a tab or a carriage return gets an apostrophe in front, and so does text that
    begins so behind apostrophes. Numbers stay.

    Example:
        >>> csv_text("=1+1"), csv_text("metadcseg"), csv_text("-0.5"), csv_text("'-a")
        ("'=1+1", 'metadcseg', '-0.5', "''-a")
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_csv_text(cell: str) -> str:
    """Return the text that a cell of one of our tables stands for.

    Example:
        >>> [from_csv_text(csv_text(text)) for text in ("=1+1", "'-a", "'a", "-0.5", "")]
        ['=1+1', "'-a", "'a", '-0.5', '']
    """
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def csv_rows(rows: Iterable[Iterable[object]]) -> str:
    r"""Return rows as CSV, lines ended by a line feed; every table that is written as CSV is made here.

    Text is escaped by :func:`csv_text`, None is an empty cell, numbers are written as they are.

    Example:
        >>> csv_rows([["case", "dsc"], ["@a", -0.5], ["b,c", None]])
        'case,dsc\n\'@a,-0.5\n"b,c",\n'
    """
    lines = []
    for row in rows:
        text = io.StringIO()
        # quotes a cell for every character of its end of lines, which is cut
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow([csv_text(cell) if isinstance(cell, str) else cell for cell in row])
        lines.append(text.getvalue()[:-2] + "\n")
    return "".join(lines)


def csv_bytes(rows: Iterable[Iterable[object]]) -> bytes:
    r"""Return :func:`csv_rows` as UTF-8; names of files may hold what is no text, and it is then shown escaped.

    Example:
        >>> csv_bytes([["case"], ["\u00e4"], ["\udcff"]])
        b'case\n\xc3\xa4\n\\udcff\n'
    """
    return csv_rows(rows).encode("utf-8", "backslashreplace")
