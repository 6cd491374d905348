"""Small pictures in the list of an opened share: drawn apart from the page, which takes pixels and nothing else."""

import struct
import zlib

import pytest
from playwright.sync_api import expect

BOB = "bob@example.com"
MIDDLE = "(canvas) => [...canvas.getContext('2d').getImageData(38, 38, 1, 1).data]"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9" fill="red"/></svg>'


def png(width, height, *, depth, colour, row):
    """A picture whose rows are all alike."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * height, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


GREEN = png(90, 60, depth=8, colour=2, row=b"\0\x80\0" * 90)


@pytest.fixture
def opened(person, tmp_path):
    """Somebody who opened a share of these files."""

    def make(files):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
        link = person("alice").send([tmp_path / name for name in files], [BOB], title="Pictures")
        bob = person("bob")
        bob.open(link)
        bob.opened("Pictures")
        return bob

    return make


def test_pictures_are_small_in_the_list_and_what_is_none_or_enormous_is_not_drawn(opened):
    enormous = png(8_000, 8_000, depth=1, colour=0, row=bytes(1_000))  # 64 megapixels in some kilobytes
    files = {"a.png": b"\x89PNG\r\n\x1a\nnot", "b.png": enormous, "c.png": SVG, "d.svg": SVG, "e.png": GREEN}
    bob = opened(files)
    thumbnail = bob.page.locator(".file-line", has_text="e.png").locator("canvas.thumbnail")
    expect(thumbnail).to_be_visible()
    assert thumbnail.evaluate(MIDDLE) == [0, 128, 0, 255]
    expect(bob.page.locator("canvas.thumbnail")).to_have_count(1)
    (frame,) = [each for each in bob.page.frames if each.url.endswith("/preview/")]
    assert frame.evaluate("origin") == "null"
    bob.click("Look at e.png")
    expect(bob.page.locator(".preview-shown")).to_be_visible()
