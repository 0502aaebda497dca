"""One color for every class, the same in all pictures."""

_BASE = ((0, 158, 115), (230, 159, 0), (86, 180, 233), (204, 121, 167), (240, 228, 66), (213, 94, 0))
"""Okabe and Ito's colors, which people who see no red or no green can tell apart."""

_SHADES = ((0.0, 0), (0.45, 0), (0.5, 255), (0.7, 0))
"""How far the colors are mixed with black or white when the six are used up."""


def class_color(number: int) -> tuple[int, int, int]:
    """Return the color of a class; the first 24 differ.

    Args:
        number: of the class, from 1.

    Returns:
        Red, green, blue from 0 to 255.

    Example:
        >>> class_color(1), class_color(7), len({class_color(number) for number in range(1, 25)})
        ((0, 158, 115), (0, 87, 63), 24)
    """
    turn, place = divmod(number - 1, len(_BASE))
    share, towards = _SHADES[turn % len(_SHADES)]
    red, green, blue = (round((1 - share) * value + share * towards) for value in _BASE[place])
    return red, green, blue
