"""A page is exactly what was released, or the difference is named."""

import base64
import hashlib
import json

import pytest

from strongroom.client.errors import BadInput
from strongroom.client.page import (
    CSP,
    PREVIEW_CSP,
    Page,
    file_problems,
    header_problems,
    integrity_problems,
    page_digest,
    parse_page,
    read_built_page,
    routes,
)
from strongroom.host.share.page import POLICY, PREVIEW_POLICY
from strongroom.protocol.errors import Untrusted
from tools.page import page_digest as built_digest

SCRIPT = b"console.log('strongroom')"
SRI = f"sha384-{base64.b64encode(hashlib.sha384(SCRIPT).digest()).decode()}"
INDEX = (
    '<!doctype html><html><head><link rel="icon" href="/icon.svg">'
    '<link rel="stylesheet" href="/a.css" integrity="{css}">'
    '<script type="module" src="/a.js" integrity="{sri}" crossorigin="anonymous"></script></head>'
    '<body><a href="#/send">Send</a></body></html>'
)
CSS = b"body{}"
HTML = INDEX.format(sri=SRI, css=f"sha256-{base64.b64encode(hashlib.sha256(CSS).digest()).decode()}").encode()
FILES = {"index.html": HTML, "a.js": SCRIPT, "a.css": CSS, "icon.svg": b"<svg/>", "evil.js": b"evil"}
HEADERS = {"content-security-policy": CSP, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def page(files):
    return Page("1", {path: hashlib.sha256(data).digest() for path, data in sorted(files.items())})


def problems(html):
    files = FILES | {"index.html": html.encode() if isinstance(html, str) else html}
    listed = page(files)
    found = list(file_problems(listed, "index.html", files["index.html"]))
    return found + list(integrity_problems(listed, {"index.html": files["index.html"]}, files))


def written(contents, **changes):
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in contents.items()}
    return json.dumps({"format": "strongroom page 1", "version": "0.1.0", "files": digests} | changes).encode()


def test_a_good_page_has_no_problem():
    assert problems(HTML) == []
    assert list(header_problems("index.html", HEADERS)) == []
    assert list(header_problems("preview/index.html", HEADERS | {"content-security-policy": PREVIEW_CSP})) == []


def test_a_file_that_was_changed_is_named():
    listed = page(FILES)
    assert list(file_problems(listed, "a.js", SCRIPT + b" ")) == ["a.js is not the file that page.json lists"]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (f'integrity="{SRI}"', "", "names a.js by a digest"),
        (SRI, "sha384-" + "A" * 64, "names a.js by a digest"),
        (SRI, SRI.replace("sha384", "md5"), "names a.js by a digest"),
        ('src="/a.js"', 'src="/evil.js"', "names evil.js by a digest"),
        ('src="/a.js"', 'src="https://cdn.example/a.js"', "is no file of the page"),
        ('src="/a.js"', 'src="//cdn.example/a.js"', "is no file of the page"),
        ('src="/a.js"', 'src="a.js"', "is no file of the page"),
        ('src="/a.js"', 'src="/../a.js"', "is no file of the page"),
        ('src="/a.js"', 'src="data:text/javascript,1"', "is no file of the page"),
        ("<body>", "<body><script>1</script>", "an inline script"),
        ("<body>", '<body><script src="/a.js" integrity="x">1</script>', "an inline script"),
        ("<body>", "<body onload=a()>", "an attribute onload"),
        ("<body>", '<body style="color:red">', "an attribute style"),
        ("<body>", '<body><img src="https://spy.example/x">', "is no file of the page"),
        ("<body>", '<body><a href="https://spy.example">x</a>', "is no file of the page"),
        ("<body>", '<body><a href="javascript:1">x</a>', "is no file of the page"),
        ("<body>", '<body><iframe srcdoc="x"></iframe>', "an attribute srcdoc"),
        ("<body>", '<body><form action="https://spy.example"></form>', "is no file of the page"),
        ("<body>", "<body><style>a{}</style>", "a <style>"),
        ("<body>", '<body><base href="https://spy.example">', "a <base>"),
        ("<body>", '<body><object data="/a.js"></object>', "a <object>"),
        ("<head>", '<head><meta http-equiv="refresh" content="0;url=https://spy.example">', "a <meta http-equiv>"),
        ("<head>", '<head><link rel="preconnect" href="https://spy.example">', "a <link> of rel preconnect"),
        ("<head>", '<head><link rel="icon prefetch" href="/icon.svg">', "a <link> of rel"),
        ("<head>", '<head><LINK REL="StyleSheet" HREF="/a.css">', "names a.css by a digest"),
        ("<body>", '<body><svg><use xlink:href="https://spy.example/x"/></svg>', "is no file of the page"),
    ],
)
def test_what_a_document_must_not_hold_is_named(old, new, problem):
    html = HTML.decode()
    assert old in html
    assert [found for found in problems(html.replace(old, new)) if problem in found]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("content-security-policy", "", "default-src is missing"),
        ("content-security-policy", CSP.replace("'self'", "'self' 'unsafe-inline'", 1), "script-src is"),
        ("content-security-policy", CSP.replace("connect-src 'self'", "connect-src *"), "connect-src is *"),
        ("content-security-policy", CSP.replace("frame-ancestors 'none'; ", ""), "frame-ancestors is missing"),
        ("content-security-policy", CSP.replace("; trusted-types", "; x trusted-types"), "trusted-types is missing"),
        ("content-security-policy", CSP + ", script-src *", "trusted-types is"),
        ("content-security-policy", CSP + "; report-uri https://spy.example", "report-uri is"),
        ("content-security-policy", "script-src *; " + CSP, "script-src is *"),
        ("content-security-policy", PREVIEW_CSP, "sandbox is allow-scripts, not missing"),
        ("x-content-type-options", "sniff", "x-content-type-options"),
        ("referrer-policy", "unsafe-url", "referrer-policy"),
        ("set-cookie", "id=1", "a header set-cookie"),
        ("link", "<https://spy.example>; rel=preload", "a header link"),
        ("reporting-endpoints", 'a="https://spy.example"', "a header reporting-endpoints"),
    ],
)
def test_a_header_that_differs_is_named(name, value, problem):
    found = list(header_problems("index.html", HEADERS | {name: value}))
    assert [one for one in found if problem in one], found


def test_the_preview_has_no_network_and_no_origin():
    loose = PREVIEW_CSP.replace("allow-scripts", "allow-scripts allow-same-origin")
    for policy in (CSP, loose, PREVIEW_CSP + "; connect-src 'self'"):
        assert list(header_problems("preview/index.html", HEADERS | {"content-security-policy": policy}))


def test_the_share_server_sends_the_policies_that_are_expected():
    assert (POLICY, PREVIEW_POLICY) == (CSP, PREVIEW_CSP)


def test_the_digest_is_the_one_that_the_build_makes(tmp_path):
    for path, data in FILES.items():
        (tmp_path / path).write_bytes(data)
    (tmp_path / "page.json").write_bytes(written(FILES))
    built = read_built_page(tmp_path)
    lines = "".join(f"{path}\0{hashlib.sha256(FILES[path]).hexdigest()}\n" for path in sorted(FILES))
    assert built.digest == hashlib.sha256(lines.encode()).digest()
    assert built.digest.hex() == built_digest(tmp_path)
    assert built.digest == page_digest(dict(sorted(built.files.items(), reverse=True)))
    (tmp_path / "a.js").write_bytes(b"changed after the build")
    with pytest.raises(BadInput, match=r"a\.js is not what page\.json beside it says"):
        read_built_page(tmp_path)


@pytest.mark.parametrize(
    "untrusted",
    [
        b"", b"[]", b"\xff", b"[" * 100_000, b"{}", b" " * (2 << 20), written({}), written({"a.js": b""}),
        written(FILES, format="strongroom page 2"), written(FILES, more=1), written(FILES, version="<b>"),
        *(written(FILES | {path: b""}) for path in ("../x", "/x", "a//b", "a/../b", "page.json")),
        *(written(FILES | {path: b""}) for path in ("a\\b", "", "a?b", "a b")),
        written(FILES, files={"index.html": "00"}),
    ],
    ids=range(21),
)  # fmt: skip
def test_a_list_that_is_none_is_refused(untrusted):
    with pytest.raises(Untrusted):
        parse_page(untrusted)


def test_documents_are_looked_for_where_browsers_ask_for_them():
    assert routes("index.html") == ("/",)
    assert routes("callback/index.html") == ("/callback",)
    assert routes("assets/a.js") == ("/assets/a.js",)
