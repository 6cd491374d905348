"""What is exported of a log is covered by a checkpoint, whatever whoever keeps the log does; and nothing twice."""

import pytest

from strongroom.cli.audit_sources import is_cosigned
from strongroom.client.audit.export import Export
from strongroom.client.errors import BadInput
from strongroom.protocol.errors import Number, Unavailable, Untrusted
from tests.support.logs import MadeLog, Tiled, Witness


async def exported(made, source, note, first=0):
    return [record async for record in Export(made.founding, source, first).up_to(note)]


def a_log(commits=300):
    return MadeLog().grow(commits=commits, entries=1)


@pytest.mark.parametrize("first", [0, 1, 2, 255, 256, 257, 300, 512, 600, 601])
async def test_one_can_start_anywhere(first):
    made = a_log()
    assert len(made.leaves) == 601
    records = await exported(made, Tiled(made.leaves), made.note(), first)
    assert [record["index"] for record in records] == list(range(first, 601))


async def test_one_can_start_anywhere_in_a_log_of_three_levels():
    made = MadeLog().grow(commits=66_000, entries=0)
    source = Tiled(made.leaves)
    for first in (65_535, 65_536, 65_537, 66_000):
        records = await exported(made, source, made.note(), first)
        assert records[0]["index"] == first


async def test_what_was_altered_is_not_exported_and_nothing_before_it():
    made = a_log()
    for bent in (3, 300, 600):
        leaves = list(made.leaves)
        leaves[bent] = leaves[bent - 2]
        with pytest.raises(Untrusted, match="not those of the checkpoint"):
            await exported(made, Tiled(leaves), made.note())


async def test_leaves_that_were_altered_before_the_first_one_asked_for_are_noticed_by_their_tiles():
    made = a_log()
    leaves = list(made.leaves)
    leaves[3] = leaves[5]
    with pytest.raises(Untrusted, match="not those of the checkpoint"):
        await exported(made, Tiled(leaves), made.note(), 400)


async def test_leaves_that_change_between_two_looks_are_not_exported():
    made = a_log(10)

    class Changing(Tiled):
        looks = 0

        async def bundle(self, wanted):
            self.looks += 1
            leaves = await super().bundle(wanted)
            return leaves if self.looks == 1 else [leaves[0], leaves[0], *leaves[2:]]

    with pytest.raises(Untrusted, match="other leaves than a moment ago"):
        await anext(Export(made.founding, Changing(made.leaves), 0).up_to(made.note()))


async def test_a_source_that_fails_on_the_way_is_gone_on_with():
    made = a_log(200)

    class Failing(Tiled):
        fails = 0

        async def bundle(self, wanted):
            self.fails -= 1
            if self.fails == 0:
                raise Unavailable(Number.BUSY)
            return await super().bundle(wanted)

    source = Failing(made.leaves)
    going = Export(made.founding, source, 0)
    found: list = []

    async def go_on():
        async for record in going.up_to(made.note()):
            found.append(record["index"])

    source.fails = 4  # two bundles are looked at, then handed out
    with pytest.raises(Unavailable):
        await go_on()
    assert 0 < going.next < len(made.leaves)
    await go_on()
    assert sorted(set(found)) == list(range(len(made.leaves)))


async def test_a_log_that_grows_is_gone_on_with_and_one_that_shrinks_or_forks_is_refused():
    made = a_log(10)
    source = Tiled(made.leaves)
    going = Export(made.founding, source, 0)
    first = [record async for record in going.up_to(made.note())]
    assert [record async for record in going.up_to(made.note())] == []
    before = list(made.leaves)
    made.commit(2)
    source.shown = made.leaves
    second = [record async for record in going.up_to(made.note())]
    assert [record["index"] for record in (*first, *second)] == list(range(24))
    assert going.next == 24
    with pytest.raises(Untrusted) as refused:
        await anext(going.up_to(made.note(21)))
    assert refused.value.number is Number.ROLLED_BACK
    made.leaves = [*before[:-2], before[0], *made.leaves[-4:]]
    source.shown = made.leaves
    with pytest.raises(Untrusted, match="not those of the checkpoint"):
        await anext(going.up_to(made.note()))


async def test_a_leaf_beyond_the_log_is_a_mistake_until_the_log_had_it():
    made = a_log(10)
    with pytest.raises(BadInput, match="the log has 21 leaves"):
        await exported(made, Tiled(made.leaves), made.note(), 22)
    going = Export(made.founding, Tiled(made.leaves), 21)
    assert [record async for record in going.up_to(made.note())] == []
    with pytest.raises(Untrusted) as refused:
        await anext(going.up_to(made.note(19)))
    assert refused.value.number is Number.ROLLED_BACK


async def test_a_checkpoint_that_the_log_did_not_sign_exports_nothing():
    made, other = a_log(5), a_log(5)
    with pytest.raises(Untrusted):
        await exported(made, Tiled(other.leaves), other.note())


def test_a_checkpoint_that_too_few_have_cosigned_is_waited_with():
    witnesses = [Witness(f"witness{number}.example") for number in range(3)]
    made = MadeLog(witnesses, 2).grow()
    assert not is_cosigned(made.note(by=witnesses[:1]), made.founding)
    assert is_cosigned(made.note(by=witnesses[1:]), made.founding)
