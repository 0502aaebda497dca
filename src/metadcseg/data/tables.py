"""Tables of cases that people write: CSV by a comma, semicolon or tab, with any capitals in the first line."""

import csv
from pathlib import Path

from metadcseg.csv_files import from_csv_text
from metadcseg.data.case_names import one_form
from metadcseg.errors import InputError
from metadcseg.reading import read_text

Row = dict[str, str]
"""Column in lower case -> text without blanks around it; a column that the line lacks is not there."""


def read_table(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    r"""Read a table: its columns in lower case, and its lines with their numbers; empty lines are passed over.

    Args:
        path: CSV in UTF-8; names are brought to the form in which cases are compared.

    Raises:
        InputError: where it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("Id; Role\n\na.png; test", file=file, flush=True)
        ...     read_table(Path(file.name))
        (['id', 'role'], [(3, {'id': 'a.png', 'role': 'test'})])
    """
    try:
        lines = one_form(read_text(path)).splitlines()
        first = lines[0] if lines else ""
        delimiter = max(",;\t", key=first.count)
        table = [
            [from_csv_text(cell.strip()) for cell in row]
            for row in csv.reader(lines, delimiter=delimiter, strict=True)
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}): save it as CSV in UTF-8") from error
    header = [cell.lower() for cell in table[0]] if table else []
    rows = [
        (number, dict(zip(header, cells, strict=False)))
        for number, cells in enumerate(table[1:], start=2)
        if any(cells)
    ]
    return header, rows
