import os
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image
from tests.unit.data.folders import disc, picture, save

from metadcseg.data.formats.images import image_files, read_image, read_mask, with_channels
from metadcseg.errors import InputError


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.tiff", "a.PNG"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_gray_images_keep_their_values_and_depth(tmp_path, name, dtype):
    array = picture(1, channels=1).astype(dtype) * np.asarray(dtype(200) if dtype == np.uint16 else 1, dtype)
    read = read_image(save(tmp_path / name, array))
    assert read.array.dtype == dtype
    np.testing.assert_array_equal(read.array, array[:, :, None])
    assert not read.lossy


def test_float_tiff_stays_float(tmp_path):
    array = np.linspace(-3.5, 9.0, 480, dtype=np.float32).reshape(20, 24)
    read = read_image(save(tmp_path / "a.tif", array))
    assert read.array.dtype == np.float32
    np.testing.assert_array_equal(read.array[:, :, 0], array)


@pytest.mark.parametrize(("most", "dtype"), [(60_000, np.uint16), (1_000_000, np.float32)])
def test_32_bit_integers_become_what_a_set_can_hold(tmp_path, most, dtype):
    array = np.linspace(0, most, 480).astype(np.int32).reshape(20, 24)
    read = read_image(save(tmp_path / "a.tif", array))
    assert read.array.dtype == dtype
    np.testing.assert_array_equal(read.array[:, :, 0], array)


def test_color_keeps_three_channels(tmp_path):
    array = picture(2)
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", array)).array, array)
    jpeg = save(tmp_path / "a.jpg", np.full((20, 24, 3), 90, np.uint8))
    assert read_image(jpeg).array.shape == (20, 24, 3)
    assert read_image(jpeg).lossy


def test_transparency_is_dropped_and_said(tmp_path):
    rgba = picture(3, channels=4)
    read = read_image(save(tmp_path / "a.png", rgba))
    np.testing.assert_array_equal(read.array, rgba[:, :, :3])
    assert "transparency is dropped" in read.notes[0]
    gray = Image.fromarray(picture(4, channels=1)).convert("LA")
    gray.save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png").array.shape == (20, 24, 1)
    assert not read_image(save(tmp_path / "c.png", picture(3))).notes


def test_other_modes_become_gray_or_rgb(tmp_path):
    source = Image.fromarray(picture(5))
    source.convert("CMYK").save(tmp_path / "cmyk.jpg")
    source.convert("P").save(tmp_path / "palette.png")
    source.convert("1").save(tmp_path / "bits.png")
    assert read_image(tmp_path / "cmyk.jpg").array.shape == (20, 24, 3)
    assert read_image(tmp_path / "palette.png").array.shape == (20, 24, 3)
    assert set(np.unique(read_image(tmp_path / "bits.png").array)) == {0, 255}


def test_exif_orientation_turns_image_and_mask_alike(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    array = disc(20, 30)
    array[0, :] = 255
    save(tmp_path / "a.png", array, exif=exif)
    image, mask = read_image(tmp_path / "a.png").array[:, :, 0], read_mask(tmp_path / "a.png").array
    np.testing.assert_array_equal(image, np.rot90(array, -1))
    np.testing.assert_array_equal(image, mask)
    assert image.shape == (30, 20)


# what must be refused, each with the file's name and one sentence


def test_truncated_files_are_refused(tmp_path):
    for name in ("a.png", "a.jpg", "a.tif"):
        path = save(tmp_path / name, picture(6, 64, 64))
        whole = path.read_bytes()
        assert read_image(path).array.shape == (64, 64, 3)
        for share in (0.02, 0.5, 0.9):
            path.write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(InputError, match=name) as error:
                read_image(path)
            assert "\n" not in str(error.value)
            with pytest.raises(InputError, match=name):
                read_mask(path)


def test_flipped_bytes_in_a_png_are_noticed(tmp_path):
    path = save(tmp_path / "a.png", picture(7, 64, 64))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_image(path)


def test_random_bytes_never_escape_as_another_error(tmp_path):
    rng = np.random.default_rng(8)
    path = tmp_path / "a.tif"
    whole = save(path, picture(8)).read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        for position in rng.integers(4, len(data), 6):
            data[position] = rng.integers(256)
        path.write_bytes(data)
        for read in (read_image, read_mask):
            with suppress(InputError):
                read(path)


def test_text_and_empty_files_are_no_images(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(InputError, match="not a PNG, JPEG, TIFF or BMP"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        read_image(tmp_path / "b.png")
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "c.png")
    Image.fromarray(picture(1)).save(tmp_path / "d.png", format="GIF")
    with pytest.raises(InputError, match="not a PNG, JPEG, TIFF or BMP"):
        read_image(tmp_path / "d.png")


@pytest.mark.parametrize("side", [11_000, 60_000])
def test_a_bomb_is_refused_from_its_header(tmp_path, side):
    path = tmp_path / "a.png"
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = b"IHDR" + header
    data = zlib.compress(b"\0" * 100)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
        + struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    )  # fmt: skip
    with pytest.raises(InputError, match="100 megapixels"):
        read_image(path)


def test_zero_size_is_refused(tmp_path):
    path = tmp_path / "a.png"
    body = b"IHDR" + struct.pack(">IIBBBBB", 0, 5, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    )
    with pytest.raises(InputError, match=r"a\.png"):
        read_image(path)


def test_several_frames_are_refused(tmp_path):
    pages = [Image.fromarray(picture(number, channels=1)) for number in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="3 frames"):
        read_image(tmp_path / "a.tif")
    pages[0].save(tmp_path / "b.tif")
    assert read_image(tmp_path / "b.tif").array.shape == (20, 24, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_values_are_refused(tmp_path, bad):
    array = np.ones((20, 24), np.float32)
    array[3, 4] = bad
    with pytest.raises(InputError, match="1 of 480 values are NaN or infinite"):
        read_image(save(tmp_path / "a.tif", array))
    with pytest.raises(InputError, match="NaN or infinite"):
        read_mask(tmp_path / "a.tif")


# masks


@pytest.mark.parametrize(("value", "dtype"), [(255, np.uint8), (3, np.uint8), (900, np.uint16)])
def test_masks_are_read_as_stored(tmp_path, value, dtype):
    mask = disc(value=value, dtype=dtype)
    read = read_mask(save(tmp_path / "a.png", mask))
    np.testing.assert_array_equal(read.array, mask)
    assert read.array.dtype.kind in "iu"


def test_color_masks_are_refused_unless_channels_agree(tmp_path):
    gray = np.repeat(disc()[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.png", gray)).array, disc())
    alpha = np.concatenate([gray, np.full((20, 24, 1), 255, np.uint8)], axis=2)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "b.png", alpha)).array, disc())
    jpeg = read_mask(save(tmp_path / "c.jpg", gray)).array
    assert jpeg.shape == (20, 24)
    gray[5, 5] = (255, 0, 0)
    with pytest.raises(InputError, match="is in color"):
        read_mask(save(tmp_path / "d.png", gray))


def test_palette_masks(tmp_path):
    labels = disc(value=2)
    image = Image.fromarray(labels)
    image.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    image.save(tmp_path / "color.png")
    read = read_mask(tmp_path / "color.png")
    np.testing.assert_array_equal(read.array, labels)
    assert "indices are taken as labels" in read.notes[0]
    swapped = Image.fromarray((disc() == 0).astype(np.uint8))
    swapped.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white
    swapped.save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "gray.png").array, disc())


def test_one_bit_masks_are_black_and_white(tmp_path):
    Image.fromarray(disc()).convert("1").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").array, disc())


def test_float_masks_hold_whole_numbers(tmp_path):
    whole = disc(value=2).astype(np.float32)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "a.tif", whole)).array, whole)
    with pytest.raises(InputError, match="got fractions"):
        read_mask(save(tmp_path / "b.tif", whole / 4))


def test_image_files_are_found_by_suffix(tmp_path):
    for name in ("b.PNG", "a.jpeg", "c.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in image_files(tmp_path)] == ["a.jpeg", "b.PNG", "folder.png"]
    with pytest.raises(InputError, match=r"folder\.png is a folder, not an image: move or rename it"):
        read_image(tmp_path / "folder.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png is no regular file"):
        read_mask(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="no such folder"):
        image_files(tmp_path / "missing")


def test_with_channels_repeats_gray_only():
    gray = picture(9, channels=1)[:, :, None]
    tripled = with_channels(gray, 3)
    assert all((tripled[:, :, [channel]] == gray).all() for channel in range(3))
    assert with_channels(gray, 1) is gray
    color = picture(9)
    assert with_channels(color, 3) is color


# what a file says beside its pixels


def deep_png(path, array):
    """Write (H, W, C) uint16 as PNG, which Pillow does not: gray and alpha, RGB, or RGB and alpha."""
    height, width, channels = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_color_keeps_every_bit(tmp_path, channels):
    array = np.random.default_rng(channels).integers(0, 65536, (9, 12, channels)).astype(np.uint16)
    read = read_image(deep_png(tmp_path / "a.png", array)).array
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, array[:, :, : 1 if channels == 2 else 3])
    if channels > 2:
        for kinds in ({}, {"planarconfig": "separate"}, {"bigtiff": True, "byteorder": ">"}):
            held = np.moveaxis(array[:, :, :3], 2, 0) if "planarconfig" in kinds else array[:, :, :3]
            tifffile.imwrite(tmp_path / "a.tif", held, photometric="rgb", **kinds)
            np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array, array[:, :, :3])


def test_16_bit_color_of_any_compression_keeps_every_bit(tmp_path):
    array = np.random.default_rng(5).integers(0, 65536, (9, 12, 3)).astype(np.uint16)
    image = sitk.GetImageFromArray(array, isVector=True)
    for number, name in enumerate(("LZW", "Deflate", "PackBits")):
        path = tmp_path / f"{number}.tif"
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(path))
        writer.UseCompressionOn()
        writer.SetCompressor(name)
        writer.Execute(image)
        np.testing.assert_array_equal(read_image(path).array, array)


def test_a_mask_in_16_bit_color_keeps_small_numbers(tmp_path):
    labels = disc(value=2)
    deep = np.repeat(labels[:, :, None].astype(np.uint16), 3, axis=2)
    np.testing.assert_array_equal(read_mask(deep_png(tmp_path / "a.png", deep)).array, labels)


@pytest.mark.parametrize(
    "dtype",
    ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"],
)
@pytest.mark.parametrize(
    "kinds", [{}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}, {"compression": "zlib"}]
)
def test_tiff_of_any_sample_type(tmp_path, dtype, kinds):
    labels = disc(value=1).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", labels, **kinds)
    mask = read_mask(tmp_path / "a.tif")
    assert mask.array.dtype.kind in "iu"
    np.testing.assert_array_equal(mask.array != 0, labels != 0)
    assert mask.array.max() == (255 if dtype == "?" else 1) or (dtype == "?" and mask.array.max() == 1)
    if dtype != "?":
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif").array[:, :, 0], labels)


def test_negative_numbers_stay_negative(tmp_path):
    for dtype in ("i1", "i2", "f8"):
        tifffile.imwrite(tmp_path / "a.tif", (-disc(value=1).astype(np.int8)).astype(dtype))
        assert read_mask(tmp_path / "a.tif").array.min() == -1
        assert read_image(tmp_path / "a.tif").array.min() == -1


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_other_numbers_of_channels_are_named(tmp_path, channels, dtype):
    array = np.zeros((20, 24, channels), dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", planarconfig="contig")
    with pytest.raises(InputError, match=rf"a\.tif holds {channels} channels"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("dtype", "top"), [("u1", 255), ("u2", 65535)])
def test_white_is_zero_shows_what_a_viewer_shows(tmp_path, dtype, top):
    shown = (disc() > 0).astype(dtype) * np.asarray(top, dtype)
    tifffile.imwrite(tmp_path / "a.tif", top - shown, photometric="miniswhite")
    image, mask = read_image(tmp_path / "a.tif"), read_mask(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.array[:, :, 0], shown)
    np.testing.assert_array_equal(mask.array, shown)
    assert "zero is white" in image.notes[0]
    assert "inverted" in mask.notes[0]


def test_white_is_zero_leaves_numbers_alone(tmp_path):
    for dtype in ("u1", "u2"):
        tifffile.imwrite(tmp_path / "a.tif", disc(value=3).astype(dtype), photometric="miniswhite")
        mask = read_mask(tmp_path / "a.tif")
        np.testing.assert_array_equal(mask.array, disc(value=3))
        assert "as stored" in mask.notes[0]


def test_1_bit_tiff_is_right_whoever_wrote_it(tmp_path):
    drawn = disc() > 0
    tifffile.imwrite(tmp_path / "numpy.tif", drawn)  # says that zero is white
    Image.fromarray(disc()).convert("1").save(tmp_path / "pillow.tif")
    Image.fromarray(disc()).convert("1").save(tmp_path / "fax.tif", compression="group4")
    tifffile.imwrite(tmp_path / "other.tif", ~drawn, photometric="miniswhite", software="a paint program")
    for name in ("numpy", "pillow", "fax", "other"):
        np.testing.assert_array_equal(read_mask(tmp_path / f"{name}.tif").array > 0, drawn, err_msg=name)


@pytest.mark.parametrize("turn", range(2, 9))
def test_orientation_of_a_tiff_of_any_type(tmp_path, turn):
    array = np.random.default_rng(turn).integers(0, 99, (20, 24))
    tifffile.imwrite(tmp_path / "a.tif", array, extratags=[(274, 3, 1, turn, True)])
    tifffile.imwrite(tmp_path / "b.tif", array.astype(np.uint8), extratags=[(274, 3, 1, turn, True)])
    odd, plain = read_mask(tmp_path / "a.tif"), read_mask(tmp_path / "b.tif")
    np.testing.assert_array_equal(odd.array, plain.array)
    assert odd.orientation == plain.orientation == turn


def with_alpha(path, color, alpha):
    height, width = alpha.shape
    colors = np.broadcast_to(np.asarray(color, np.uint8), (height, width, 3))
    Image.fromarray(np.dstack([colors, alpha])).save(path)
    return path


@pytest.mark.parametrize("color", [255, 0, 7, (200, 0, 0)])
def test_alpha_carries_the_shape_where_there_is_one_color(tmp_path, color):
    read = read_mask(with_alpha(tmp_path / "a.png", color, disc()))
    np.testing.assert_array_equal(read.array, disc())
    assert "transparency is taken as the mask" in read.notes[0]


def test_alpha_of_other_kinds_of_files(tmp_path):
    white = np.full((20, 24), 255, np.uint8)
    Image.fromarray(np.dstack([white, disc()]), "LA").save(tmp_path / "gray.png")
    palette = Image.fromarray((disc() > 0).astype(np.uint8))
    palette.putpalette([255] * 6)
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 255]))
    tifffile.imwrite(
        tmp_path / "a.tif", np.dstack([white, white, white, disc()]), photometric="rgb", extrasamples=["unassalpha"]
    )  # fmt: skip
    deep = np.dstack([white, white, white, disc()]).astype(np.uint16) * 257
    deep_png(tmp_path / "deep.png", deep)
    painted = np.where(disc()[:, :, None] > 0, 0, 255) * np.ones(3)  # black paint, white where nothing is
    with_alpha(tmp_path / "paint.png", painted.astype(np.uint8), disc())
    for name in ("gray.png", "palette.png", "a.tif", "deep.png", "paint.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name).array, disc(), err_msg=name)


def test_alpha_that_hides_nothing_of_the_mask_leaves_its_numbers(tmp_path):
    for value in (255, 1, 2):
        labels = disc(value=value)
        read = read_mask(with_alpha(tmp_path / "a.png", labels[:, :, None], disc()))
        np.testing.assert_array_equal(read.array, labels)
    opaque = np.full((20, 24), 255, np.uint8)
    assert read_mask(with_alpha(tmp_path / "b.png", disc(value=2)[:, :, None], opaque)).notes == ()


@pytest.mark.parametrize("row", [0, 10, 19])
def test_alpha_and_colors_of_different_shape_are_refused(tmp_path, row):
    alpha = np.full((20, 24), 255, np.uint8)
    alpha[row] = 0
    colors = disc()
    colors[row, 3] = 90
    with pytest.raises(InputError, match=r"a\.png: 24 transparent pixels hide other colors"):
        read_mask(with_alpha(tmp_path / "a.png", colors[:, :, None], alpha))


def palette_mask(path, array, *colors):
    image = Image.fromarray(array)
    image.putpalette([value for color in colors for value in color])
    image.save(path)
    return path


@pytest.mark.parametrize("color", [(0, 200, 0), (255, 255, 0), (9, 9, 10)])
def test_a_palette_tells_the_colors_of_its_indices(tmp_path, color):
    read = read_mask(palette_mask(tmp_path / "b.png", (disc() > 0).astype(np.uint8), (0, 0, 0), color))
    assert read.colors == {0: (0, 0, 0), 1: color}


@pytest.mark.parametrize("kinds", [{}, {"bigtiff": True}, {"compression": "zlib"}])
def test_a_damaged_tiff_of_any_type_is_one_sentence(tmp_path, kinds, caplog):
    path, rng = tmp_path / "a.tif", np.random.default_rng(4)
    tifffile.imwrite(path, np.random.default_rng(1).normal(size=(20, 24)), **kinds)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(InputError, match=r"a\.tif"):
        read_image(path)
    for _ in range(60):
        data = bytearray(whole)
        for position in rng.integers(4, 300, 6):
            data[position] = rng.integers(256)
        path.write_bytes(data)
        for read in (read_image, read_mask):
            with suppress(InputError):
                read(path)
    assert not [record for record in caplog.records if record.name.startswith("tifffile")]
