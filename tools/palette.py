"""Makes screenshots small: 256 colours in place of 16 million, which text on plain ground does not need.

The browser that drew a picture reads it too; colours are chosen and mapped there, where loops over pixels are quick.
"""

import base64
import struct
import zlib

from playwright.sync_api import Page

# Half of the palette are the commonest colours. The other half are, one after the other, those farthest from all that
# are in it already: a rare red mark does not turn grey for being small.
_REDUCE = """async (png) => {
  const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const { width, height } = picture;
  const sheet = new OffscreenCanvas(width, height).getContext("2d");
  sheet.drawImage(picture, 0, 0);
  const pixels = new Uint32Array(sheet.getImageData(0, 0, width, height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const colours = [...counts].sort(([a, m], [b, n]) => n - m || a - b).map(([colour]) => colour);
  const apart = (a, b) =>
    ((a & 255) - (b & 255)) ** 2 + ((a >> 8 & 255) - (b >> 8 & 255)) ** 2 + ((a >> 16 & 255) - (b >> 16 & 255)) ** 2;
  const palette = [], nearest = new Uint8Array(colours.length), distance = new Float64Array(colours.length).fill(1e9);
  while (palette.length < Math.min(256, colours.length)) {
    const chosen = palette.length < 128 ? palette.length : distance.indexOf(distance.reduce((a, b) => Math.max(a, b)));
    palette.push(colours[chosen]);
    colours.forEach((colour, at) => {
      const far = apart(colour, colours[chosen]);
      if (far < distance[at]) { distance[at] = far; nearest[at] = palette.length - 1; }
    });
  }
  const places = new Map(colours.map((colour, at) => [colour, nearest[at]]));
  const lines = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) lines[y * (width + 1) + 1 + x] = places.get(pixels[y * width + x]);
  let text = "";
  for (let at = 0; at < lines.length; at += 8192) text += String.fromCharCode(...lines.subarray(at, at + 8192));
  return { width, height, palette: palette.flatMap((c) => [c & 255, c >> 8 & 255, c >> 16 & 255]), lines: btoa(text) };
}"""


def smaller(page: Page, png: bytes) -> bytes:
    """The same opaque picture as a PNG with a palette. `page` is any page without a content security policy."""
    drawn = page.evaluate(_REDUCE, base64.b64encode(png).decode())
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 15, 9)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", drawn["width"], drawn["height"], 8, 3, 0, 0, 0)),
        (b"PLTE", bytes(drawn["palette"])),
        (b"IDAT", squeezer.compress(base64.b64decode(drawn["lines"])) + squeezer.flush()),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
