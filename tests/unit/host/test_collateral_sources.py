"""Which addresses may be sources, and how long a failing one is left alone."""

import pytest

from strongroom.host.collateral.sources import FIRST_REST, MAX_REST, MAX_RETRY_AFTER, BadSource, Rest, Source


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("https://pccs.example", "https://pccs.example"),
        ("https://pccs.example:8081/", "https://pccs.example:8081"),
        ("https://pccs.example:8081/sgx/certification/v4/", "https://pccs.example:8081"),
        ("https://proxy.example/intel", "https://proxy.example/intel"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://[::1]:8081", "http://[::1]:8081"),
        ("http://localhost:8081", "http://localhost:8081"),
    ],
)
def test_addresses_are_understood_as_they_are_written_elsewhere(address, base):
    assert Source(address).base == base


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://pccs.example", "not encrypted"),
        ("http://10.0.0.1", "not encrypted"),
        ("http://127.0.0.1.example", "not encrypted"),
        ("http://0.0.0.0", "not encrypted"),
        ("https://user:secret@pccs.example", "no user or password"),
        ("https://pccs.example/?key=secret", "not an address"),
        ("https://pccs.example/#x", "not an address"),
        ("https://pccs.example/\r\nx: y", "not an address"),
        ("https://pccs.example:99999", "not a URL"),
        ("https://pccs.example:0", "not an address"),
        ("https://[::1", "not a URL"),
        ("https://", "not an address"),
        ("https://bücher.example", "not an address"),
        ("ftp://pccs.example", "not an address"),
        ("pccs.example:8081", "not an address"),
        ("", "not an address"),
        ("https://pccs.example/sgx/certification/v3/", "name the host only"),
        ("https://kdsintf.amd.com/vcek/v1", "name the host only"),
    ],
)
def test_other_addresses_are_refused(address, why):
    with pytest.raises(BadSource, match=why) as refused:
        Source(address)
    assert "secret@" not in str(refused.value)


def test_rests_double_up_to_a_bound_and_end_with_success():
    rest, now, lengths = Rest(), 1000.0, []
    for _ in range(40):
        rest.failed(now)
        lengths.append(rest.left(now))
        now += lengths[-1] + 1
    for count, length in enumerate(lengths):
        longest = min(FIRST_REST * 2**count, MAX_REST)
        assert longest / 2 <= length <= longest
    rest.succeeded(now)
    rest.failed(now)
    assert rest.left(now) <= FIRST_REST


def test_requests_that_fail_together_count_once():
    rest = Rest()
    for _ in range(10):
        rest.failed(1000.0)
    assert rest.left(1000.0) <= FIRST_REST


def test_a_late_success_does_not_end_a_rest_that_the_source_asked_for():
    rest = Rest()
    rest.failed(1000.0, 60.0)
    rest.succeeded(1000.5)
    assert rest.left(1001.0) == 59.0


def test_what_a_source_asks_for_is_bounded():
    rest = Rest()
    rest.failed(1000.0, 1e12)
    assert rest.left(1000.0) == MAX_RETRY_AFTER


def test_rests_differ_from_machine_to_machine():
    lengths = set()
    for _ in range(20):
        rest = Rest()
        rest.failed(0.0)
        lengths.add(rest.left(0.0))
    assert len(lengths) > 10


def test_what_a_source_lacks_is_remembered_within_bounds():
    source = Source("https://pccs.example")
    for number in range(1000):
        source.missing(f"item-{number}").failed(0.0)
    assert source.missing("item-999").left(0.0) > 0
    assert source.missing("item-0").left(0.0) == 0
