"""What the orientation tags of images and masks say must agree."""

from collections.abc import Sequence

from metadcseg.data.findings import Finding, plural

_TAG = "its orientation tag (EXIF {}) turns it"


def turned_images(images: Sequence[str]) -> list[Finding]:
    """Return a note on images that an orientation tag turns, and whose masks have none; nothing where there are none.

    Example:
        >>> turned_images(["a.jpg"])[0].code
        'image-turned'
    """
    if not images:
        return []
    sentence = (
        f"{plural(len(images), 'image')}, such as {images[0]}, are turned by an orientation tag (EXIF) and their "
        "masks carry none: right if masks were drawn on what a viewer shows, else turn the masks, too"
    )
    return [Finding("note", "image-turned", images[0], sentence)]


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
