"""Prose is short: no sentence of README, CONTRIBUTING and the pages has more than 35 words."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MOST = 35
BEGINS = re.compile(r"^\s*(?:[-*+]|\d+\.)\s")
"""How a list item begins: it is a sentence of its own, with or without a full stop."""


def blocks(text: str) -> Iterator[str]:
    """Paragraphs and list items of a page; without fences, tables, headings and pictures."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    block = ""
    for line in [*text.splitlines(), ""]:
        left_out = not line.strip() or line.startswith(("|", "#", "![", "<"))
        if left_out or BEGINS.match(line):
            yield block
            block = ""
        if not left_out:
            block += " " + BEGINS.sub("", line)
    yield block


def long_sentences(text: str) -> list[str]:
    """Sentences of more than 35 words; a link counts as its text, code in backticks as one word."""
    found = []
    for block in blocks(text):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", block)
        plain = re.sub(r"`[^`]*`", "code", plain)
        sentences = re.split(r"(?<=[.!?])[\")*_]*\s", plain)
        found += [sentence.strip() for sentence in sentences if len(sentence.split()) > MOST]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_sentence_is_long(page):
    found = long_sentences(page.read_text(encoding="utf-8"))
    listed = "".join(f"\n- {sentence}" for sentence in found)
    assert not found, f"{page.relative_to(ROOT)}: more than {MOST} words:{listed}"


def test_a_long_sentence_is_found_and_a_table_or_program_is_not():
    long = "word " * (MOST + 1)
    assert len(long_sentences(f"Short one. {long}end.\n")) == 1
    assert len(long_sentences(f"- {long}\n- {long}\n")) == 2
    assert not long_sentences("word " * MOST)
    assert not long_sentences(f"- {'word ' * MOST}\n- {'word ' * MOST}\n")
    assert not long_sentences(f"| {long} |\n\n# {long}\n\n```\n{long}\n```\n")
