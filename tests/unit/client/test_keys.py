import os
import threading

import pytest

from strongroom.client.errors import BadInput
from strongroom.client.keys import load_key, load_or_make_key


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "new" / "binding.key"
    made = load_or_make_key(path)
    assert load_or_make_key(path).public == load_key(path).public == made.public
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["binding.key"]


def test_an_open_umask_does_not_open_the_file(tmp_path):
    before = os.umask(0)
    try:
        load_or_make_key(tmp_path / "key")
    finally:
        os.umask(before)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_many_at_once_get_the_same_key(tmp_path):
    keys, start = [], threading.Barrier(16)

    def work():
        start.wait()
        keys.append(load_or_make_key(tmp_path / "key").public)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 16
    assert len(set(keys)) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "key"
    load_or_make_key(path)
    path.chmod(mode)
    for load in (load_key, load_or_make_key):
        with pytest.raises(BadInput, match="others can read") as caught:
            load(path)
        assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"0" * 64 + b"\n", b"f" * 64 + b"\n", b"1" * 63 + b"\n", b"1" * 64, b"\xff" * 64 + b"\n"]
)
def test_a_file_that_holds_no_key_is_refused_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadInput, match="not a Strongroom key file"):
        load_or_make_key(path)
    assert path.read_bytes() == content


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "."):
        with pytest.raises(BadInput):
            load_or_make_key(tmp_path / name)


def test_a_key_behind_a_link_is_found_and_a_broken_link_is_not_followed_by_a_new_key(tmp_path):
    made = load_or_make_key(tmp_path / "key")
    (tmp_path / "link").symlink_to("key")
    assert load_or_make_key(tmp_path / "link").public == made.public
    (tmp_path / "broken").symlink_to("elsewhere")
    with pytest.raises(BadInput):
        load_or_make_key(tmp_path / "broken")
    assert not (tmp_path / "elsewhere").exists()


def test_no_error_shows_the_key(tmp_path):
    path = tmp_path / "key"
    secret = load_or_make_key(path).scalar.hex()
    path.write_text(path.read_text() + "more")
    with pytest.raises(BadInput) as caught:
        load_key(path)
    assert secret not in str(caught.value)
