"""The examples in spec/share.md are what the code reads and writes."""

import io
import json
import re
from pathlib import Path

import pytest

from strongroom.client.share.age import age_length, generate_identity, parse_identity
from strongroom.client.share.format import encode_json, parse_card, parse_desk, parse_request, parse_share
from strongroom.client.share.pack import Pack, Source
from strongroom.client.share.site import parse_link

SPEC = (Path(__file__).resolve().parents[4] / "spec" / "share.md").read_text()


def example(kind):
    """The example of this format in the specification, with its dots filled in."""
    block = next(
        found for found in re.findall(r"```json\n(.*?)```", SPEC, re.DOTALL) if f'"strongroom {kind} 1"' in found
    )
    text = block.replace("…32 hex digits", "0" * 28).replace("32 hex digits", "0" * 32)
    text = text.replace("…64 hex digits", "0" * 64).replace("AGE-SECRET-KEY-PQ-1…", generate_identity())
    return text.replace('"…base64url of a COSE_Key"', '"AAAA"').replace('"…base64url"', '"AAAA"')


def test_the_example_of_a_share_is_what_a_sender_makes():
    share = parse_share(example("share").encode())
    written = json.loads(example("manifest"))["files"]
    sources = [Source(one["path"], one["size"], one["type"], one["modified"], blank(one["size"])) for one in written]
    pack = Pack(sources)
    list(pack.blocks(parse_identity(generate_identity()).recipient))
    assert pack.place is not None
    assert share.manifest is not None
    assert (share.size, share.manifest.offset, share.manifest.length) == (
        pack.size,
        pack.place.offset,
        pack.place.length,
    )
    assert [one["offset"] for one in written] == [0, age_length(11)]
    assert [one["length"] for one in written] == [age_length(11), age_length(15)]


def blank(size):
    return lambda: io.BytesIO(bytes(size))


@pytest.mark.parametrize(
    ("kind", "parse"),
    [("request", parse_request), ("passkey", parse_card), ("desk", parse_desk)],
    ids=["request", "passkey", "desk"],
)
def test_the_examples_of_other_formats_are_read(kind, parse):
    text = example(kind).replace('"title": "…"', '"title": "x"').encode()
    assert json.loads(encode_json(parse(text))) == json.loads(text)


def test_a_link_is_written_as_it_is_read():
    text = f"https://share.example.com/#/s/{'0a' * 16}"
    assert str(parse_link(text)) == text
    assert parse_link(text).kind == "share"
    assert str(parse_link(text.replace("/s/", "/r/"))) == text.replace("/s/", "/r/")
