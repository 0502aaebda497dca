"""How metadcseg says that something it was given is wrong, and what it has decided by itself."""

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches


class InputError(ValueError):
    """Something given by the user is wrong; the message is one sentence that says what to do.

    The sentence says who complains or which file or parameter is meant, what is allowed, what was got and
    what to do. The command line prints it without a traceback and exits with status 2. What it repeats of the input may
    be as long as a book, so that it goes through :func:`brief`.

    Example:
        >>> raise InputError("training.lr must be above 0, got -1")
        Traceback (most recent call last):
        ...
        metadcseg.errors.InputError: training.lr must be above 0, got -1
        >>> len(str(InputError("got " + "9" * 10_000)))
        507
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(brief(sentence))


class Note(UserWarning):
    """Something was decided that whoever trains should know of; nothing is wrong. The message is one sentence.

    In Python it is a warning like any other; the command line prints it once, as its other notes.
    """


class ReportedByAnotherRank(InputError):
    """What another of several devices says already; raised so that this one ends as well.

    The command line prints nothing for it.
    """


@contextmanager
def quiet(logger: str, level: int = logging.WARNING) -> Iterator[None]:
    """Keep back what a library logs below a level, where our own sentence says it; what its user set comes back.

    Args:
        logger: its name.
        level: what is logged from there on is still heard.

    Example:
        >>> with quiet("a.library"):
        ...     logging.getLogger("a.library").info("Using bfloat16")
    """
    held = logging.getLogger(logger)
    before = held.level
    held.setLevel(max(level, held.getEffectiveLevel()))  # who hears less stays so
    try:
        yield
    finally:
        held.setLevel(before)


def first_of(sentences: Sequence[str], most: int = 5) -> str:
    """Return the first of many sentences, and how many more there are.

    Example:
        >>> first_of([f"{name}.png is empty" for name in "abc"], most=2)
        'a.png is empty; b.png is empty; and 1 more'
    """
    left = len(sentences) - most
    return "; ".join(sentences[:most]) + (f"; and {left} more" if left > 0 else "")


def shown(held: object, most: int = 60) -> str:
    """Return the beginning of a value for a sentence: it comes from outside, and may be as long as a book.

    Args:
        held: any value.
        most: letters that are shown of it.

    Example:
        >>> len(shown("x" * 100)), shown([1, {}]), shown({}), shown(10**400)
        (60, 'a list of 2', 'an empty object', 'a number of many digits')
    """
    if isinstance(held, list | dict):
        kind = "list" if isinstance(held, list) else "object"
        return f"{'a' if kind == 'list' else 'an'} {kind} of {len(held)}" if held else f"an empty {kind}"
    if held is None:
        return "nothing"
    if isinstance(held, int) and abs(held) > 10**20:
        return "a number of many digits"
    return shortened(repr(held[: 2 * most]) if isinstance(held, str) else repr(held), most)


def shortened(text: str, most: int = 60) -> str:
    """Return text of at most so many letters, the end of a longer one left out.

    Example:
        >>> shortened("a name", 60), shortened("x" * 100, 8)
        ('a name', 'xxxxx...')
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def brief(sentence: str) -> str:
    """Return a sentence without the middle of words above 500 letters, and of more than 3000 letters in all.

    Example:
        >>> brief("a name"), len(brief("x" * 10_000)), len(brief("x " * 10_000))
        ('a name', 503, 3003)
    """
    sentence = re.sub(r"\S{501,}", lambda found: _without_middle(found[0], 500), sentence)
    return _without_middle(sentence, 3000)


def _without_middle(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}...{text[-(most // 2) :]}"


def one_line(text: str) -> str:
    r"""Return text as one line that changes no terminal: names of files may hold line breaks and escape sequences.

    Example:
        >>> print(one_line("a\x1b[2J.png"))
        a\x1b[2J.png
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def unknown_name(kind: str, got: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that nobody knows, with the nearest known name and the full list.

    Args:
        kind: what the name stands for, such as ``"method"``.
        got: the name that was given.
        known: every name that would have been accepted.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(unknown_name("method", "metadcsg", ["metadcseg", "supervised"]))
        unknown method 'metadcsg': did you mean 'metadcseg'? (known: metadcseg, supervised)
        >>> id = "cohort-" * 10 + "sub-01"  # whole: two ids may differ in their ends alone
        >>> f"'{id}'" in str(unknown_name("gold case", id, ["a"]))
        True
    """
    names = sorted(known)
    near = get_close_matches(got[:200], names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    told = _without_middle(got, 200)
    return InputError(f"unknown {kind} '{told}': {hint}(known: {', '.join(names)})")
