"""A record that does not fit its schema is answered by one sentence with file and field."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from metadcseg.errors import InputError
from metadcseg.schemas import decoded, fitting, read_record


class Part(msgspec.Struct):
    size: Annotated[int, Meta(ge=1, le=9)]
    role: Literal["train", "test"] = "train"


class Whole(msgspec.Struct):
    parts: list[Part]
    share: float = 0.5
    note: str | None = None


class Roles(msgspec.Struct):
    roles: dict[Literal["train", "test"], int]


WRONG = {
    b'{"parts": [{"size": 2}, {"size": 10}]}': r"x.json: 'parts\[1\].size' must be a whole number <= 9, got 10; again",
    b'{"parts": [{"size": "2"}]}': r"'parts\[0\].size' must be a whole number, got '2'",
    b'{"parts": [{"size": true}]}': "must be a whole number, got true or false",
    b'{"parts": [{"size": 2, "role": "tset"}]}': "'parts.0..role' must be one of train, test, got 'tset'",
    b'{"parts": {}}': "'parts' must be a list, got an object",
    b'{"share": 1}': "it lacks 'parts'",
    b'{"parts": [], "note": 3}': "'note' must be text or null, got 3",
    b'{"parts": [], "share": 1e999}': "'share' must be a number that a computer holds",
    b'{"parts": [], "share": ' + b"9" * 5000 + b"}": "'share' must be a number that a computer holds",
    b'{"parts": [], "share": Infinity}': r"it is no JSON at byte \d+ \('Infinity}'\)",
    b'{"parts": [], "share": NaN}': "is no JSON at byte",
    b'{"x": ' + b"[" * 100_000: "nested too deeply",
    b'{"parts": [], "note": "\xff"}': "is not UTF-8",
    b'{"parts": [': "its end is missing",
    b"": "its end is missing",
    b'{"parts": [], "note": "\\udcff", "share": Infinity}': "x.json: it is no JSON; again",
    b'{"parts": [], "note": "\\udcff", "share": 1e999}': "x.json: it is no JSON; again",
    b"[]": "it must be an object, got a list",
}


@pytest.mark.parametrize("data", WRONG, ids=lambda data: data[:40].decode("latin-1"))
def test_what_does_not_fit(data):
    with pytest.raises(InputError, match=WRONG[data]) as found:
        decoded(data, Whole, "x.json", "again")
    assert len(str(found.value).splitlines()) == 1
    assert str(found.value).endswith("; again")


@pytest.mark.parametrize(
    ("held", "kind", "sentence"),
    [
        ({1: "a"}, Whole, "x.json: a key in it must be text; again"),
        (
            {"a": {"b": 1}},
            dict[str, dict[int, int]],
            "x.json: a key in a value in it must be a whole number, got text; again",
        ),
        (
            {"parts": [], "roles": {"tset": 1}},
            Roles,
            "x.json: a key in 'roles' must be one of train, test, got 'tset'",
        ),
    ],
)
def test_a_key_that_does_not_fit(held, kind, sentence):
    with pytest.raises(InputError, match=sentence):
        fitting(held, kind, "x.json", "again")


def test_what_fits_and_what_a_schema_does_not_name(tmp_path):
    (tmp_path / "x.json").write_text('{"parts": [{"size": 9}], "other": [[1]], "share": 2}')
    assert read_record(tmp_path / "x.json", Whole, "again") == Whole([Part(9)], 2.0)
    with pytest.raises(InputError, match=r"gone.json cannot be read"):
        read_record(tmp_path / "gone.json", Whole, "again")


def test_names_of_files_that_are_no_unicode():
    assert decoded(b'{"parts": [], "note": "a\\udcff"}', Whole, "x", "again").note == "a\udcff"


def test_plain_values_are_held_to_the_same():
    assert fitting({"parts": [{"size": 9}]}, Whole, "x", "again").parts == [Part(9)]
    with pytest.raises(InputError, match=r"x: 'parts\[0\].size' must be a whole number >= 1, got 0; again"):
        fitting({"parts": [{"size": 0}]}, Whole, "x", "again")
    with pytest.raises(InputError, match="x: it holds a key that is no text; again"):
        fitting({"parts": [{"\ud800": 1}]}, Whole, "x", "again")
