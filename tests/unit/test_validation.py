"""Types of options, in every way that Python writes them."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Optional, Union

import pytest

from metadcseg.errors import InputError
from metadcseg.validation import check_types


@dataclass(frozen=True)
class Options:
    name: ClassVar[str] = "mine"

    old: Optional[float] = None  # noqa: UP045
    either: Union[int, Literal["auto"]] = "auto"  # noqa: UP007
    new: float | None = None
    choice: Literal["a", "b"] | None = None


@pytest.mark.parametrize(
    "values", [{}, {"old": 0.5}, {"old": 1}, {"either": 3}, {"new": 2.0}, {"choice": "b"}]
)
def test_what_a_hint_allows_passes(values: dict[str, Any]) -> None:
    check_types(Options(**values))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"old": "0.5"}, r"mine\.old must be a number or null, got '0.5'"),
        ({"either": "of"}, r"mine\.either must be a whole number or one of auto, got 'of'"),
        ({"new": float("inf")}, r"mine\.new must be a number or null, got inf"),
        ({"choice": "c"}, r"mine\.choice must be one of a, b or null, got 'c'"),
    ],
)
def test_all_else_is_refused_by_name(values: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_types(Options(**values))
