import pytest

from strongroom.client.errors import BadInput, Unreachable
from strongroom.client.transport import Unsealed
from strongroom.client.urls import is_loopback, origin_of, verify_url
from strongroom.protocol.errors import WORDS, Number, Refused, StrongroomError

SAME = ["https://a.example/b?c", "https://A.example:443", "HTTPS://a.example/"]
OTHERS = ["http://a.example", "https://a.example:8443", "https://b.a.example", "https://a.example.", "https://[::1]"]
OF_THE_ENCLAVE_ALONE = [Number.CONFLICT, Number.TICKET_MISSING, Number.TICKET_EXPIRED, Number.QUOTA_EXCEEDED]


def test_an_origin_is_written_in_one_way_and_no_other_one_is_the_same():
    assert {origin_of(url) for url in SAME} == {"https://a.example"}
    assert len({origin_of(url) for url in [*SAME, *OTHERS]}) == 1 + len(OTHERS)
    assert origin_of("http://[::1]:8400/x") == "http://[::1]:8400"


@pytest.mark.parametrize("url", ["", "a.example", "file:///etc/passwd", "https://", "https://[a", "https://a:99999"])
def test_what_is_no_url_has_no_origin(url):
    assert origin_of(url) == ""


@pytest.mark.parametrize(
    "url", ["https://vault.example.com", "http://127.0.0.1:8400", "https://example.com/strongroom", "http://[::1]:8400"]
)
def test_urls_of_servers(url):
    assert verify_url(url) == url
    assert verify_url(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "vault.example.com", "ftp://vault.example.com", "https://", "https://:443", "file:///etc/passwd"),
        *("https://vault.example.com:99999", "https://vault.example.com:0", "https://user:pw@vault.example.com"),
        *("https://vault.example.com?x=1", "https://vault.example.com#x", "https://vault.example.com/\r\nhost: x"),
        *(
            "https://vault.exämple.com",
            "https://vault.example.com/ ",
            "http://[::1",
            "https://vault.example.com\\@evil",
        ),
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url):
    with pytest.raises(BadInput) as caught:
        verify_url(url)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        *((url, True) for url in ("http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:1", "http://localhost")),
        *((url, False) for url in ("http://127.0.0.1.example.com", "https://example.com", "http://10.0.0.1")),
    ],
)
def test_this_machine_is_told_from_others(url, expected):
    assert is_loopback(url) is expected


@pytest.mark.parametrize("number", [*Number, 0, 117, 299, 500, 65535])
def test_no_number_in_clear_passes_for_the_enclaves_word(number):
    error = Unsealed(int(number)).as_error()
    assert isinstance(error, StrongroomError)
    assert not isinstance(error, Refused)
    assert error.number not in OF_THE_ENCLAVE_ALONE
    assert "said by the network, not by the enclave" in error.error


def test_an_unreachable_server_has_words_of_its_own():
    error = Unreachable("https://x can't be reached", "check it", broken=False)
    assert (error.error, error.hint) == ("https://x can't be reached", "check it")
    assert error.hint != WORDS[error.number][1]
