"""Tables on a terminal: whole digests, no control characters, no lines that evidence writes itself."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from strongroom.attestation.policy import SgxSigner, SnpSigner, sections_of
from strongroom.cli.evidence import print_steps, print_verdict, report_json
from strongroom.cli.pinning import pin_exactly
from strongroom.client.explanation import Step, explain, explain_report
from strongroom.client.policy_explanation import explain_role, explain_section
from tests.support import policies
from tests.support.evidence import NOW
from tests.support.seen import REPORTS, genuine

EVIL = "\x1b[2J\x1b]0;owned\x07\rTCB status  UpToDate\nTCB status  UpToDate\u202e"


def printed(*steps, width=80):
    out = io.StringIO()
    print_steps(Console(file=out, width=width, highlight=False, markup=False, emoji=False, soft_wrap=True), steps)
    return out.getvalue()


@pytest.mark.parametrize("kind", REPORTS)
def test_a_register_stands_whole_on_a_line_of_its_own(kind):
    report = REPORTS[kind]
    lines = printed(*explain(genuine(kind), NOW)).splitlines()
    for _, value in report.registers:
        assert f"  {value.hex()}" in lines
    assert not [line for line in lines if line != line.rstrip() or (len(line) > 80 and not line.startswith("  "))]


def test_what_is_said_of_a_digest_stands_below_it():
    """A program that changed its version, or a signature of somebody who is no approver."""
    digest = "77" * 32
    text = printed(Step("= 2.0", "security version 3", ""), Step("", f"sgx {digest}", "WAS 1.0, security version 1"))
    assert text.splitlines()[1:] == [f"  sgx {digest}", "    WAS 1.0, security version 1"]


@pytest.mark.parametrize("step", [Step(EVIL, "x", ""), Step("name", EVIL, ""), Step("name", "x", EVIL)])
def test_text_of_evidence_can_not_steer_the_terminal_or_add_a_line(step):
    text = printed(step)
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert not [line for line in text.splitlines() if line.startswith("TCB status")]


def test_a_reason_can_not_steer_the_terminal():
    out = io.StringIO()
    print_verdict(Console(file=out, width=80, soft_wrap=True), [], "refused", EVIL, [EVIL])
    assert out.getvalue().count("\n") == 2
    assert not [c for c in out.getvalue() if not c.isprintable() and c != "\n"]


@pytest.mark.parametrize("kind", REPORTS)
def test_a_pinned_policy_is_shown_with_every_digest(kind):
    seen = genuine(kind)
    policy = pin_exactly(seen, genuine("sgx", "authenticator"), machines=True).vault
    steps = explain_role(policy)
    for named, section in sections_of(policy).items():
        steps += explain_section(named, section)
    text = printed(*steps)
    for _, value in seen.report.registers:
        assert f"  {value.hex()}\n" in text
    assert seen.claims.cluster_id.hex() in text
    assert ("NO HARDWARE" in text) == (kind == "insecure-software")


def test_who_can_read_is_said_in_capitals():
    sections: dict[Any, Any] = {
        "sgx": policies.sgx(signers=[SgxSigner(b"\x01" * 32, 1, 2)]),
        "snp": policies.snp(signers=[SnpSigner(b"\x01" * 48, bytes(16), bytes(16), 0)]),
        "nitro": policies.nitro(signers=[b"\x01" * 48]),
    }
    for kind, section in sections.items():
        assert "CAN READ" in printed(*explain_section(kind, section), width=400)


def test_several_programs_are_told_apart():
    steps = explain_section("sgx", policies.sgx(measurements=[b"\x01" * 32, b"\x02" * 32]))
    assert [step.name for step in steps if "MRENCLAVE" in step.name] == ["1: MRENCLAVE", "2: MRENCLAVE"]


@pytest.mark.parametrize("kind", REPORTS)
def test_a_report_for_programs_holds_no_bytes_and_no_number_that_json_rounds(kind):
    def walk(value):
        match value:
            case dict():
                for name, one in value.items():
                    assert isinstance(name, str)
                    walk(one)
            case list():
                for one in value:
                    walk(one)
            case int():
                assert abs(value) < 2**53
            case _:
                assert value is None or isinstance(value, str)

    bits = {"tdx": {"td_attributes": 1 << 63, "xfam": 1 << 63}, "snp": {"guest_policy": 1 << 63}}
    found = report_json(replace(REPORTS[kind], **bits.get(kind, {})))
    walk(found)
    assert found["registers"] == {name: value.hex() for name, value in REPORTS[kind].registers}
    assert explain_report(kind, REPORTS[kind])[0].value == kind
