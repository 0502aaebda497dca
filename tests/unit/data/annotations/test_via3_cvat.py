"""Projects of VIA 3, and CVAT's XML: what is drawn is stored, what makes no sense is one sentence."""

import copy

import numpy as np
import pytest
from tests.unit.data.annotations.drawings import HEIGHT, NAMES, WIDTH, block, images, put, said, stored

from metadcseg.data.annotations.cvat_xml import read_xml
from metadcseg.data.annotations.values import number
from metadcseg.data.annotations.via3 import read
from metadcseg.errors import InputError

Y, X = np.mgrid[:HEIGHT, :WIDTH] + 0.5
RING = [4, 3, 17, 3, 17, 15, 4, 15]


def via3(regions, attributes=None):
    """Return a project: regions are lists of [(xy, av), ...] for each of the images."""
    return {
        "project": {
            "pid": "x",
            "data_format_version": "3.1.1",
            "vid_list": [str(n) for n in range(len(NAMES))],
        },
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}},
        "attribute": attributes or {"1": {"aname": "organ", "anchor_id": "FILE1_Z0_XY1", "type": 1}},
        "file": {
            str(n): {"fid": n, "fname": f"scans/{name}.png", "type": 2, "loc": 1, "src": ""}
            for n, name in enumerate(NAMES)
        },
        "view": {str(n): {"fid_list": [n]} for n in range(len(NAMES))},
        "metadata": {
            f"{n}_{place}": {"vid": str(n), "flg": 0, "z": [], "xy": xy, "av": av}
            for n in range(len(NAMES))
            for place, (xy, av) in enumerate(regions)
        },
    }


def xml(shapes, size=(HEIGHT, WIDTH), labels=("polyp", "cyst"), more=""):
    """Return a file of CVAT with the same shapes in all images."""
    named = "".join(f"<label><name>{name}</name></label>" for name in labels)
    held = "".join(
        f'<image id="{n}" name="sub/{name}.png" width="{size[1]}" height="{size[0]}">{shapes}</image>'
        for n, name in enumerate(NAMES)
    )
    meta = f"<meta><task><labels>{named}</labels></task></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n{more}<annotations>{meta}{held}</annotations>'


def cvat(folder, *args, **options):
    path = folder / "masks" / "annotations.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(xml(*args, **options))
    return folder


def test_what_says_nothing_of_a_class_is_not_looked_at(tmp_path):
    attributes = {
        "1": {"aname": "organ", "type": 1, "options": ""},
        "2": {"aname": "sharp", "type": 4, "options": []},
    }
    content = via3([([7, *RING], {"1": "polyp"}), ([], [])], attributes)
    put(tmp_path / "p.json", content)
    shapes = read(tmp_path / "p.json", content).entries[0].mask.shapes
    assert [shape.name for shape in shapes] == ["polyp"]


@pytest.mark.parametrize("text", [".5", "5.", "+5", "007", " 7 ", "-.5", "1e2"])
def test_numbers_in_xml_are_what_python_reads(text):
    assert number(text, "x") == float(text)


@pytest.mark.parametrize(
    ("xy", "wanted"),
    [
        ([7, *RING], block(3, 4, 15, 17)),
        ([2, 4, 3, 13, 12], block(3, 4, 15, 17)),
        ([3, 12, 10, 6], (X - 12) ** 2 + (Y - 10) ** 2 <= 36),
        ([4, 12, 10, 8, 5], ((X - 12) / 8) ** 2 + ((Y - 10) / 5) ** 2 <= 1),
    ],
)
def test_what_is_drawn_in_via_3_is_stored(tmp_path, xy, wanted):
    folder = images(tmp_path / "f")
    put(folder / "masks/p.json", via3([(xy, {"1": "polyp"}), ([1, 2, 2], {"1": "polyp"}), ([], {"1": "x"})]))
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "polyp")
    for name in NAMES:
        np.testing.assert_array_equal(labels[name], wanted)
    assert "1 region without area (lines, points), passed over" in said(folder, "note")


def test_options_of_via_3_are_names(tmp_path):
    folder = images(tmp_path / "f")
    attributes = {
        "1": {"aname": "quality", "type": 4, "options": {"0": "good"}},
        "2": {"aname": "Label", "type": 3, "options": {"0": "liver", "1": "cyst"}},
    }
    drawn = [([2, 1, 1, 9, 9], {"1": "0", "2": "0"}), ([2, 12, 10, 5, 5], {"1": "0", "2": "1"})]
    put(folder / "masks/p.json", via3(drawn, attributes))
    labels, classes = stored(folder, tmp_path)
    assert classes == ("background", "cyst", "liver")
    assert (labels["a"][5, 5], labels["a"][12, 14]) == (2, 1)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (lambda held: held["metadata"]["0_0"].update(xy=[7, 1, 2, 3]), "of the kind 7 with 3 numbers"),
        (lambda held: held["metadata"]["0_0"].update(xy=[8, 1, 2, 3, 4]), "of the kind 8"),
        (lambda held: held["metadata"]["0_0"].update(xy="box"), "has no shape but 'box'"),
        (lambda held: held["metadata"]["0_0"].update(av={"1": ""}), "has no class"),
        (lambda held: held["metadata"]["0_0"].update(av={"1": "a", "2": "b"}), "several attributes"),
        (
            lambda held: held["view"].update({"0": {"fid_list": [0, 1]}}),
            "view '0' is not of one of its files, but a list of 2",
        ),
        (lambda held: held["view"].update({"0": 7}), "must be an object"),
        (lambda held: held["file"].update({"0": {}}), "no name of a file"),
        (lambda held: held.update(metadata=[1]), "must be an object"),
        (lambda held: held["metadata"].update({"x": 5}), "must be an object"),
        (lambda held: held["metadata"]["0_0"].update(av=5), "must be an object"),
    ],
)
def test_via_3_that_makes_no_sense(tmp_path, changed, says):
    folder = images(tmp_path / "f")
    held = copy.deepcopy(via3([([7, *RING], {"1": "polyp"})]))
    changed(held)
    put(folder / "masks/p.json", held)
    assert says in said(folder, "error")
    with pytest.raises(InputError):
        stored(folder, tmp_path)


RUNS = (4, 3, 4, 3, 6)
BOX = np.zeros((HEIGHT, WIDTH), np.uint8)
BOX[2:6, 6:11] = np.repeat(np.arange(5) % 2, RUNS).reshape(4, 5)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ('<polygon label="polyp" points="4.0,3.0;17.0,3.0;17.0,15.0;4.0,15.0"/>', block(3, 4, 15, 17)),
        ('<box label="polyp" xtl="4" ytl="3" xbr="17" ybr="15"/>', block(3, 4, 15, 17)),
        ('<box label="polyp" xtl="4" ytl="8" xbr="16" ybr="12" rotation="90"/>', block(4, 8, 16, 12)),
        (
            '<ellipse label="polyp" cx="12" cy="10" rx="8" ry="5"/>',
            ((X - 12) / 8) ** 2 + ((Y - 10) / 5) ** 2 <= 1,
        ),
        (
            '<ellipse label="polyp" cx="12" cy="10" rx="8" ry="5" rotation="90"/>',
            ((X - 12) / 5) ** 2 + ((Y - 10) / 8) ** 2 <= 1,
        ),
        (
            f'<mask label="polyp" rle="{str(RUNS)[1:-1]}" left="6" top="2" width="5" height="4"/>',
            BOX,
        ),
        (
            '<polygon label="cyst" points="0,0;5,0;5,5;0,5" z_order="1"/>'
            '<polygon label="polyp" points="0,0;9,0;9,5;0,5" z_order="0"/>',
            block(0, 0, 5, 9) + block(0, 0, 5, 5),
        ),
    ],
)
def test_what_is_drawn_in_cvat_is_stored(tmp_path, shape, wanted):
    folder = cvat(images(tmp_path / "f"), shape + '<points label="polyp" points="1,1"/>')
    labels, classes = stored(folder, tmp_path)
    assert classes[:2] == ("background", "polyp")
    for name in NAMES:
        np.testing.assert_array_equal(labels[name], wanted)
    assert "1 shape without area (lines, points, tags), passed over" in said(folder, "note")


@pytest.mark.parametrize(
    ("shapes", "options", "says"),
    [
        ('<polygon label="polyp" points="4 3"/>', {}, "has points that are not"),
        ('<polygon label="polyp" points="4,x;1,2;3,3"/>', {}, "a coordinate must be a finite number"),
        ('<polygon points="1,1;5,1;5,5"/>', {}, "has no class"),
        ('<box label="polyp" xtl="4"/>', {}, "'ytl' must be a finite number"),
        ('<mask label="polyp" rle="1,2" left="0" top="0" width="5" height="4"/>', {}, "do not fill its box"),
        (
            '<mask label="polyp" rle="a" left="0" top="0" width="5" height="4"/>',
            {},
            "runs that are no numbers",
        ),
        ('<blob label="polyp"/>', {}, "of the kind 'blob'"),
        ('<polygon label="polyp" points="1,1;5,1;5,5"/>', {"size": (HEIGHT, 30)}, "30"),
        ('<polygon label="polyp" points="1,1;5,1;5,5"/>', {"size": ("x", 30)}, "size of the image must be"),
        ("", {"more": '<!DOCTYPE a [<!ENTITY b "c">]>'}, "has a document type"),
        ("<polygon>", {}, "is no valid XML"),
    ],
)
def test_cvat_that_makes_no_sense(tmp_path, shapes, options, says):
    folder = cvat(images(tmp_path / "f"), shapes, **options)
    assert says in said(folder, "error")
    with pytest.raises(InputError):
        stored(folder, tmp_path)


def test_other_xml_and_videos_are_said(tmp_path):
    folder = images(tmp_path / "f")
    path = folder / "masks/annotations.xml"
    path.parent.mkdir()
    path.write_text("<annotations><track id='0' label='polyp'/></annotations>")
    assert "export 'CVAT for images' instead" in said(folder, "error")
    path.write_text("<annotation><object/></annotation>")
    assert "it is no export of COCO, CVAT" in said(folder, "warning")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_document_type_is_refused_in_every_encoding(encoding, tmp_path):
    path = tmp_path / "a.xml"
    text = '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>'
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding[:6]}"?>{text}'.encode(encoding))
    with pytest.raises(InputError, match="has a document type"):
        read_xml(path)
