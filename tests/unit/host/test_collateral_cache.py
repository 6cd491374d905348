"""A cache file is whole, or it is not there."""

import os
import stat

import pytest

from strongroom.host.collateral.cache import MAX_FILES, Cache, Kept

KEPT = Kept(1, "item", 1_790_000_000, "chain", bytes(range(100)))


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "a" / "cache")


@pytest.fixture
def file(cache, tmp_path):
    cache.store(KEPT)
    return tmp_path / "a" / "cache" / "item.collateral"


def test_what_was_stored_is_loaded_also_by_the_next_process(cache, file, tmp_path):
    assert cache.load("item") == Cache(tmp_path / "a" / "cache").load("item") == KEPT
    newer = Kept(1, "item", 1_790_000_001, "", b"")
    cache.store(newer)
    assert cache.load("item") == newer
    assert cache.load("other") is None
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_file_cut_short_or_with_one_bit_flipped_is_a_miss(cache, file):
    content = file.read_bytes()
    for size in range(len(content)):
        file.write_bytes(content[:size])
        assert cache.load("item") is None
    for at in range(len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        assert cache.load("item") is None
    for other in (content + b"\0", os.urandom(500), bytes(10_000_000)):
        file.write_bytes(other)
        assert cache.load("item") is None
    file.write_bytes(content)
    assert cache.load("item") == KEPT


def test_a_file_under_another_name_is_a_miss(cache, file):
    file.rename(file.with_name("other.collateral"))
    assert cache.load("item") is None
    assert cache.load("other") is None


def test_a_directory_in_the_place_of_a_file_is_a_miss(cache, file):
    file.unlink()
    file.mkdir()
    assert cache.load("item") is None
    cache.store(KEPT)
    assert cache.load("item") is None
    assert [entry.name for entry in file.parent.iterdir()] == ["item.collateral"]


def test_what_a_killed_process_left_unfinished_goes_and_nothing_else(cache, file):
    (file.parent / ".unfinished-collateral-x1").write_bytes(b"half")
    (file.parent / "strongroom.sqlite3").write_bytes(b"somebody's database")
    assert Cache(file.parent).load("item") == KEPT
    assert sorted(entry.name for entry in file.parent.iterdir()) == ["item.collateral", "strongroom.sqlite3"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(cache, file, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    cache.store(Kept(1, "item", 1_790_000_001, "", b"new"))
    assert cache.load("item") == KEPT
    assert [entry.name for entry in file.parent.iterdir()] == ["item.collateral"]
    assert "No space left" in caplog.text


def test_the_oldest_files_make_room(cache, tmp_path):
    directory = tmp_path / "a" / "cache"
    for number in range(MAX_FILES):
        (directory / f"{number}.collateral").write_bytes(b"")
        os.utime(directory / f"{number}.collateral", (number, number))
    (directory / "mine.txt").write_bytes(b"")
    cache.store(KEPT)
    left = {entry.name for entry in directory.iterdir()}
    assert len(left) == MAX_FILES + 1
    assert "0.collateral" not in left
    assert {"1.collateral", "item.collateral", "mine.txt"} <= left
