"""What files say beside their pixels must agree from file to file: palettes, segment names, orientation tags."""

from collections.abc import Mapping

from metadcseg.data.findings import Finding, plural
from metadcseg.data.formats.images import Picture

_TAG = "its orientation tag (EXIF {}) turns it"


class Agreement:
    """Collects what the files of a folder say, and tells where they contradict each other.

    Example:
        >>> said = Agreement()
        >>> said.meanings("a.png", {0: "black", 1: "green"}, "palette")
        >>> said.meanings("b.png", {0: "black", 1: "red"}, "palette")
        >>> print(said.findings()[0].sentence)  # doctest: +ELLIPSIS
        b.png and a.png disagree: 1 is red in the palette of the first and green in the second, ...
    """

    def __init__(self) -> None:
        self._by_value: dict[int, tuple[str, str]] = {}
        self._by_name: dict[str, tuple[int, str]] = {}
        self._found: list[Finding] = []
        self._turned: list[str] = []

    def meanings(self, where: str, names: Mapping[int, str], what: str) -> None:
        """Note what the values of one mask are called: one value, one name, in all masks.

        Args:
            where: the mask.
            names: value -> name, such as a color of its palette or a segment of its header.
            what: where these names are from: ``palette`` or ``header``.
        """
        clash = ""
        unique = {name for name in names.values() if list(names.values()).count(name) == 1}
        for value, name in names.items():
            before, first = self._by_value.setdefault(value, (name, where))
            if before != name:
                clash = f"{value} is {name} in the {what} of the first and {before} in the second"
            elif name in unique:
                held, first = self._by_name.setdefault(name, (value, where))
                if held != value:
                    clash = f"{name} is {value} in the {what} of the first and {held} in the second"
            if clash:
                sentence = (
                    f"{where} and {first} disagree: {clash}, so no value has one meaning: save both with the same "
                    f"{'colors, or as gray PNG of class numbers' if what == 'palette' else 'values for the segments'}"
                )
                self._found.append(Finding("error", "label-meaning", where, sentence))
                return

    def pictures(self, image: tuple[str, Picture], mask: tuple[str, Picture]) -> None:
        """Note an image and its mask, each with the name of its file."""
        where, held = mask
        if held.colors:
            self.meanings(where, {index: str(color) for index, color in held.colors.items()}, "palette")
        if image[1].orientation != 1 and held.orientation == 1:
            self._turned.append(image[0])

    def findings(self) -> list[Finding]:
        """Return what contradicts, and how many images a tag turns whose masks have none."""
        if not self._turned:
            return self._found
        first = self._turned[0]
        sentence = (
            f"{plural(len(self._turned), 'image')}, such as {first}, are turned by an orientation tag (EXIF) and their "
            "masks carry none: right if masks were drawn on what a viewer shows, else turn the masks, too"
        )
        return [*self._found, Finding("note", "image-turned", first, sentence)]


def said_of_turn(image: Picture, mask: Picture) -> str:
    """Return the end of a sentence on sizes that differ: which orientation tag turns which; empty where none does.

    Example:
        >>> import numpy as np
        >>> said_of_turn(Picture(np.zeros((2, 3, 1)), orientation=6), Picture(np.zeros((3, 2))))
        ' (its orientation tag (EXIF 6) turns it, the mask has none)'
    """
    if image.orientation == mask.orientation:
        return ""
    if mask.orientation == 1:
        return f" ({_TAG.format(image.orientation)}, the mask has none)"
    if image.orientation == 1:
        return f" (the mask: {_TAG.format(mask.orientation)}, the image has none)"
    return f" (orientation tags turn both, EXIF {image.orientation} and {mask.orientation})"
