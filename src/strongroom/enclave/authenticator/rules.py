"""Rules at hand, and what they decide (`protocol.evaluation`): OK only when nothing went wrong (RULES 16)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from strongroom.protocol.authenticator_messages import RecordFacts
from strongroom.protocol.evaluation import Outcome, ParsedRules, evaluate, parse_rules, verify_permitted
from strongroom.protocol.facts import Fact
from strongroom.protocol.instructions import Action

SCHEMA_VERSION: Final = 1
MAX_CACHED: Final = 1024 * 1024
"""Bytes of rule text whose parsed form, about 25 times as large, is kept. What is kept is rules, never a decision."""


class _Kept(NamedTuple):
    size: int
    rules: ParsedRules


class RuleBook:
    """Parsed rules by their digest, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._size = 0
        self.parsed = 0
        """How often rules that were not at hand had to be read, valid or not: the costly part."""

    def decide(
        self, digest: bytes, rules: str, action: Action, record: RecordFacts, facts: Sequence[Fact], now: int
    ) -> Outcome:
        """Whom the rules (of this digest, verified by the caller) permit `action`, and on which sign-ins that rests.

        Raises `Refused` when they permit nobody among `facts`, and whenever any evaluation had any error; `Misuse`
        for rules that are not valid.
        """
        return verify_permitted(evaluate(self._parse(digest, rules), action, record, facts, now))

    def _parse(self, digest: bytes, rules: str) -> ParsedRules:
        kept = self._kept.get(digest)
        if kept is not None:
            self._kept.move_to_end(digest)
            return kept.rules
        self.parsed += 1
        kept = self._kept[digest] = _Kept(len(rules), parse_rules(rules))
        self._size += kept.size
        while self._size > MAX_CACHED:
            self._size -= self._kept.popitem(last=False)[1].size
        return kept.rules
