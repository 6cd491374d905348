"""What is said of backups, where a log is not watched, and where SQLite says it in several lines."""

import pytest

from strongroom.cli import backup_check
from strongroom.client.audit import governance
from strongroom.host.backup.file import Damaged
from strongroom.protocol.governance import Gap


def gap(found, known):
    return Gap(
        version=1,
        cluster=bytes(32),
        recoveries=1,
        generation=1,
        attempt=bytes(32),
        found_size=found,
        found_root=bytes(32),
        known_size=known,
        known_root=bytes(32),
        at=1_800_000_000,
        watchers=None,
    )


def test_a_recovery_without_witnesses_is_not_said_to_have_gone_back_to_leaf_14_of_0():
    said = governance._went_back(gap(14, 0))
    assert "went on from leaf 14" in said
    assert "of 0" not in said
    assert "witnesses" not in said


@pytest.mark.parametrize(("found", "lost"), [(13, "1 leaf was"), (4, "10 leaves were")])
def test_how_much_a_recovery_gave_up_is_counted(found, lost):
    said = governance._went_back(gap(found, 14))
    assert f"went back to leaf {found} of 14" in said
    assert f"what stood in {lost} given up" in said


def test_what_sqlite_says_is_one_line(tmp_path):
    path = tmp_path / "backup"
    path.write_text("not a database, and long enough to be looked at\n" * 100)
    with pytest.raises(Damaged, match="is damaged") as caught:
        backup_check._verify_pages(path)
    assert "\n" not in str(caught.value)
    assert backup_check._line("*** in database main ***\nTree 2 page 2") == "*** in database main *** Tree 2 page 2"
