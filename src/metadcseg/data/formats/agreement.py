"""What files say beside their pixels must agree from file to file: palettes, segment names, orientation tags."""

from collections.abc import Mapping

from metadcseg.data.findings import Finding, plural

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

    def turned(self, image: str) -> None:
        """Note an image that an orientation tag turns, and whose mask has none."""
        self._turned.append(image)

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


def said_of_turn(image: int, mask: int) -> str:
    """Return the end of a sentence on sizes that differ: which orientation tag turns which; empty where none does.

    Args:
        image: what the tag of the image says, 1 to 8; 1 is upright.
        mask: likewise.

    Example:
        >>> said_of_turn(image=6, mask=1)
        ' (its orientation tag (EXIF 6) turns it, the mask has none)'
    """
    if image == mask:
        return ""
    if mask == 1:
        return f" ({_TAG.format(image)}, the mask has none)"
    if image == 1:
        return f" (the mask: {_TAG.format(mask)}, the image has none)"
    return f" (orientation tags turn both, EXIF {image} and {mask})"
