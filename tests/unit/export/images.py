"""Images of 16 bits a color, of which Pillow keeps eight."""

import struct
import zlib

import numpy as np
import tifffile


def write_deep_colors(folder):
    """Write PNG and TIFF, one with its planes apart, and gray with alpha."""
    colors = np.random.default_rng(0).integers(0, 60_000, (9, 8, 3), np.uint16)
    (folder / "color.png").write_bytes(png(colors, kind=2))
    (folder / "gray-alpha.png").write_bytes(png(colors[..., :2], kind=4))
    tifffile.imwrite(folder / "color.tif", colors, photometric="rgb")
    planes = np.ascontiguousarray(np.moveaxis(colors, 2, 0))
    tifffile.imwrite(folder / "planes.tif", planes, photometric="rgb", planarconfig="separate")


def png(array, kind):
    """Return a PNG of 16 bits a number; Pillow writes none of several channels."""

    def chunk(name, held):
        return struct.pack(">I", len(held)) + name + held + struct.pack(">I", zlib.crc32(name + held))

    height, width, _ = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
