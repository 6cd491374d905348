"""`strongroom appraise` as people and scripts meet it: real quotes of every platform, and what each is refused for."""

import hashlib
import io
import json
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest

from strongroom.attestation.policy import NitroMeasurement, SnpProduct, TdxMeasurement, TrustPolicy
from strongroom.attestation.trust_file import format_trust_policy
from strongroom.cli.main import run
from strongroom.protocol.evidence import parse_evidence
from strongroom.protocol.primitives import fingerprint
from tests.support import policies
from tests.support.command import strongroom
from tests.support.evidence import MEASUREMENT, NOW, Cluster
from tests.support.synthetic_nitro import SyntheticNitro
from tests.support.synthetic_snp import amd

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
INDEX: list[dict[str, Any]] = json.loads((VECTORS / "index.json").read_text()) if VECTORS.is_dir() else []
REAL = [one for one in INDEX if one["kind"].startswith("real") and not one["name"].startswith("negative/")]
NEGATIVE = [one for one in INDEX if one["name"].startswith("negative/") and one.get("now")]
NO_PLATFORM = {f"negative/derived/sgx-truncated-{size}" for size in (0, 1)}
"""Too short to be taken for anything."""
SHARED = pytest.mark.needs("shared")


def name(vector):
    return vector["name"]


def arguments(vector):
    """As a person would call it: the file, what goes with it, and the time."""
    file = vector.get("quote") or vector.get("report") or vector["doc"]
    options = {"collateral": "--collateral", "leaf": "--leaf", "chain": "--chain"}
    given = [part for key, option in options.items() if key in vector for part in (option, VECTORS / vector[key])]
    return ["appraise", VECTORS / file, *given, "--at", vector["now"]]


def platform(vector):
    return next(kind for kind in ("sgx", "tdx", "snp", "nitro") if vector["name"].startswith(f"{kind}/"))


@pytest.fixture
def appraise(capsys):
    """Runs it with --json: its exit status and the object."""

    def call(*words):
        status = run([str(word) for word in (*words, "--json")])
        return status, json.loads(capsys.readouterr().out)

    return call


def section(kind, found):
    """A section that accepts exactly this program, on machines in the state that was found."""
    registers = {label: bytes.fromhex(value) for label, value in found["registers"].items()}
    values = list(registers.values())
    match kind:
        case "sgx":
            return policies.sgx(measurements=values, tcb_statuses=[found["intel"]["tcb_status"]])
        case "tdx":
            measured = [TdxMeasurement(*values)]
            return policies.tdx(measurements=measured, tcb_statuses=[found["intel"]["tcb_status"]])
        case "snp":
            return policies.snp(
                measurements=values, products=[SnpProduct(found["product"], 0, 0, 0, 0, 0)], vmpls=[found["vmpl"]]
            )
        case _:
            return policies.nitro(measurements=[NitroMeasurement(*values)], instances=found.get("instances"))


def written(path, policy):
    path.write_text(format_trust_policy(policy))
    path.chmod(0o600)
    return path


def policy_file(path, kind, found, **changes):
    vault = policies.role(**{kind: section(kind, found | changes)})
    return written(path, TrustPolicy(1, "test", vault, policies.role(), [], 0))


# --- real evidence --------------------------------------------------------------------------------------------


@SHARED
@pytest.mark.parametrize("vector", REAL, ids=name)
def test_real_evidence_passes_by_default_only_in_the_best_state(appraise, vector):
    status, found = appraise(*arguments(vector))
    kind = platform(vector)
    assert found["kind"] == kind
    if kind in ("sgx", "tdx"):
        assert found["report"]["intel"]["tcb_status"] == vector["py"]
        best, reason = vector["py"] == "UpToDate", f"TCB status {vector['py']} is not"
    elif kind == "snp":
        best, reason = "genoa" in vector["name"], "software can extract the seed of Milan's"
    else:
        best, reason = True, ""
    if best:
        assert (status, found["verdict"], found["number"]) == (0, "accepted", 0)
    else:
        assert (status, found["verdict"], found["number"]) == (10, "refused", 306)
        assert reason in found["reason"]
    assert any("which program" in part for part in found["not_judged"])
    assert any("the cluster" in part for part in found["not_judged"])


@SHARED
@pytest.mark.parametrize("vector", REAL, ids=name)
def test_real_evidence_is_accepted_by_a_policy_that_states_what_it_is(appraise, tmp_path, vector):
    _, found = appraise(*arguments(vector))
    kind = platform(vector)
    policy = policy_file(tmp_path / "trust.toml", kind, found["report"])
    status, by_policy = appraise(*arguments(vector), "--policy", policy, "--role", "vault")
    assert (status, by_policy["verdict"]) == (0, "accepted"), by_policy["reason"]
    revocation = ["revocation, since AMD's list is not there (--crl)"] if kind == "snp" else []
    outside = "the cluster and its configuration, which a raw quote does not show"
    assert by_policy["not_judged"] == [*revocation, outside]
    # The other role's section names nobody, and another program is another program.
    status, other = appraise(*arguments(vector), "--policy", policy, "--role", "authenticator")
    assert (status, other["reason"]) == (10, f"the policy does not name {kind}")
    registers = {
        label: hashlib.sha384(value.encode()).hexdigest() for label, value in found["report"]["registers"].items()
    }
    sized = {label: value[: len(found["report"]["registers"][label])] for label, value in registers.items()}
    changed = policy_file(tmp_path / "other.toml", kind, found["report"], registers=sized)
    assert appraise(*arguments(vector), "--policy", changed, "--role", "vault")[0] == 10


WORSE: dict[str, dict[str, Any]] = {
    "sgx": {"intel": {"tcb_status": "OutOfDateConfigurationNeeded"}},
    "tdx": {"intel": {"tcb_status": "OutOfDateConfigurationNeeded"}},
    "snp": {"vmpl": 3},
    "nitro": {"instances": ["i-another"]},
}
"""What a policy may ask of a machine that no real evidence here shows."""


@SHARED
@pytest.mark.parametrize("vector", REAL, ids=name)
def test_the_right_program_on_a_machine_that_the_policy_does_not_accept_is_refused(appraise, tmp_path, vector):
    _, found = appraise(*arguments(vector))
    kind = platform(vector)
    policy = policy_file(tmp_path / "trust.toml", kind, found["report"], **WORSE[kind])
    status, refused = appraise(*arguments(vector), "--policy", policy, "--role", "vault")
    assert (status, refused["verdict"], refused["number"]) == (10, "refused", 306)
    assert refused["report"] == found["report"]


@SHARED
@pytest.mark.parametrize("vector", NEGATIVE, ids=name)
def test_broken_evidence_is_never_accepted(capsys, vector):
    """Most of it is not genuine; what is has a state that the default rules refuse."""
    status = run([*map(str, arguments(vector)), "--json"])
    captured = capsys.readouterr()
    if vector["name"] in NO_PLATFORM:
        assert (status, captured.out) == (2, "")
        return
    found = json.loads(captured.out)
    assert (status, found["verdict"]) in {(10, "refused"), (11, "untrusted")}
    assert (found["report"] is None) == (status == 11)
    assert captured.err.splitlines()[-2].startswith("error: ")
    assert captured.err.splitlines()[-1].startswith("hint: ")


@SHARED
@pytest.mark.parametrize("vector", REAL, ids=name)
def test_evidence_of_yesterday_is_not_evidence_of_the_far_future(appraise, vector):
    words = arguments(vector)[:-1]
    for at in (0, 4_000_000_000, 2**40):
        status, found = appraise(*words, at)
        assert (status, found["verdict"], found["report"]) == (11, "untrusted", None)


@SHARED
def test_a_table_for_people_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for vector in REAL:
        run([str(word) for word in arguments(vector)])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split()[:2] == ["platform", platform(vector)]
        assert not [line for line in lines if line != line.rstrip()]
        assert [line for line in lines if line.startswith(("accepted: ", "refused: "))]
        if platform(vector) in ("snp", "nitro"):
            assert [line for line in lines if len(line) == 98 and line.startswith("  ")]  # a register of 96 digits


@SHARED
def test_padding_is_left_out_and_said(capsys):
    padded = next(one for one in REAL if one["name"].startswith("tdx/dstack-teekit"))
    assert run([str(word) for word in arguments(padded)]) == 0
    assert "zero bytes behind the quote are left out" in capsys.readouterr().err


@SHARED
def test_a_quote_comes_through_a_pipe(tmp_path):
    vector = next(one for one in REAL if one["name"].startswith("nitro/"))
    document = (VECTORS / vector["doc"]).read_bytes()
    ran = strongroom("appraise", "-", "--at", vector["now"], cwd=tmp_path, stdin=document)
    assert ran.status == 0, ran.err
    assert ran.out.startswith(b"platform")
    assert ran.err == ""


@SHARED
def test_a_kind_that_it_is_not_is_refused(appraise):
    vector = next(one for one in REAL if one["name"].startswith("sgx/"))
    status, found = appraise(*arguments(vector), "--kind", "tdx")
    assert (status, found["kind"], found["verdict"]) == (11, "tdx", "untrusted")


# --- made here: under roots that are nobody's -----------------------------------------------------------------


def test_evidence_under_a_root_of_ones_own_is_untrusted(appraise, tmp_path):
    (tmp_path / "document").write_bytes(SyntheticNitro().document())
    status, found = appraise("appraise", tmp_path / "document", "--at", NOW)
    assert (status, found["number"]) == (11, 301)
    made = amd()
    (tmp_path / "report").write_bytes(made.report())
    leaf, _, chain = made.collateral().partition(b"-----END CERTIFICATE-----\n")
    (tmp_path / "leaf").write_bytes(leaf + b"-----END CERTIFICATE-----\n")
    (tmp_path / "chain").write_bytes(chain)
    given = ("--leaf", tmp_path / "leaf", "--chain", tmp_path / "chain")
    status, found = appraise("appraise", tmp_path / "report", *given, "--at", NOW)
    assert (status, found["number"]) == (11, 301)


@pytest.fixture
def software(tmp_path):
    """Files of a quote without hardware, and the policy that accepts it."""
    cluster = Cluster("vault")
    evidence, _, _ = parse_evidence(cluster.evidence())
    (tmp_path / "quote").write_bytes(evidence.quote)
    (tmp_path / "collateral").write_bytes(evidence.collateral)
    written(tmp_path / "trust.toml", TrustPolicy(1, "insecure", cluster.policy(), policies.role(), [], 0))
    return ["appraise", tmp_path / "quote", "--collateral", tmp_path / "collateral", "--at", NOW]


def test_software_evidence_counts_only_where_it_is_asked_for_by_name(appraise, software, tmp_path, capsys):
    by_policy = ("--policy", tmp_path / "trust.toml", "--role", "vault")
    insecure = ("--kind", "insecure-software")
    status, found = appraise(*software, *insecure, *by_policy)
    assert (status, found["verdict"]) == (0, "accepted")
    assert found["report"]["registers"] == {"MRENCLAVE": MEASUREMENT.hex()}
    # It looks like SGX, and is not under Intel's root.
    status, found = appraise(*software, *by_policy)
    assert (status, found["kind"], found["number"]) == (11, "sgx", 301)
    for missing in ((), ("--policy", tmp_path / "trust.toml", "--role", "authenticator")):
        assert run([str(word) for word in (*software, *insecure, *missing)]) == 2
        assert "only by a policy that names its root" in capsys.readouterr().err


def test_software_evidence_of_another_root_is_refused(appraise, software, tmp_path):
    other = Cluster("vault").policy(roots=[fingerprint(b"another")])
    written(tmp_path / "trust.toml", TrustPolicy(1, "insecure", other, policies.role(), [], 0))
    by_policy = ("--policy", tmp_path / "trust.toml", "--role", "vault", "--kind", "insecure-software")
    status, found = appraise(*software, *by_policy)
    assert (status, found["number"], found["report"]) == (10, 306, None)
    assert "does not name the software root" in found["reason"]


# --- mistakes -------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "huge").write_bytes(bytes(64 * 1024 + 1))
    (tmp_path / "folder").mkdir()
    (tmp_path / "snp").write_bytes(amd().report())
    (tmp_path / "nitro").write_bytes(SyntheticNitro().document())
    (tmp_path / "sgx").write_bytes(b"\x03\x00\x02\x00\x00\x00\x00\x00" + bytes(1000))
    (tmp_path / "hex").write_text(amd().report().hex())
    (tmp_path / "text").write_text("no")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (["none"], "can't read the quote from none: No such file", "name the file"),
        (["folder"], "can't read the quote from folder: Is a directory", "name the file"),
        (["empty"], "the quote is empty", "check the file"),
        (["huge"], "the quote is larger than 65,536 bytes", "nothing else"),
        (["text"], "this looks like evidence of no platform", "base64"),
        (["hex"], "this looks like evidence of no platform", "xxd -r -p"),
        (["sgx"], "--collateral is missing", "sgx needs --collateral"),
        (["sgx", "--collateral", "none"], "can't read the collateral from none", "name the file"),
        (["sgx", "--collateral", "empty"], "the collateral is empty", "check the file"),
        (["sgx", "--collateral", "huge"], "the collateral is larger", "nothing else"),
        (["sgx", "--collateral", "text", "--leaf", "text"], "--leaf does not go with sgx", "sgx needs"),
        (["snp"], "--leaf is missing", "--leaf and --chain"),
        (["snp", "--chain", "text"], "--leaf is missing", "--leaf and --chain"),
        (["snp", "--leaf", "text"], "--chain is missing", "--leaf and --chain"),
        (["snp", "--leaf", "text", "--chain", "text"], "--leaf is not one certificate", "AMD"),
        (["snp", "--collateral", "text"], "--collateral does not go with snp", "--leaf and --chain"),
        (["nitro", "--collateral", "text"], "--collateral does not go with nitro", "no other file"),
        (["nitro", "--crl", "text"], "--crl does not go with nitro", "no other file"),
        (["nitro", "--at", "-1"], "invalid value for '--at'", "strongroom appraise --help"),
        (["nitro", "--at", "now"], "invalid value for '--at'", "strongroom appraise --help"),
        (["nitro", "--kind", "trustzone"], "invalid value for '--kind'", "strongroom appraise --help"),
        (["nitro", "--role", "vault"], "--role chooses a section of --policy", "give --policy"),
        (["nitro", "--policy", "text"], "--role is missing", "vault or authenticator"),
        (["nitro", "--policy", "text", "--role", "vault"], "text: trust policy", "docs/howto/policy.md"),
        (["sgx", "--collateral", "text"], "not Intel's collateral", "tcb_info"),
    ],
)
def test_a_mistake_is_two_lines_and_status_2(here, capsys, words, error, hint):
    assert run(["appraise", *words]) == 2
    captured = capsys.readouterr()
    first, second = captured.err.strip().splitlines()[-2:]
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith("hint: ")
    assert hint in second
    assert captured.out == ""


@pytest.mark.parametrize("evil", ["\x1b[2J\x1b]0;owned\x07", "a\nerror: b"])
def test_a_file_name_can_not_steer_the_terminal(here, capsys, evil):
    (here / evil).write_bytes(b"no")
    assert run(["appraise", evil, "--kind", "nitro"]) == 11
    assert run(["appraise", f"{evil}.none"]) == 2
    shown = capsys.readouterr()
    assert "\x1b" not in shown.err + shown.out
    assert len(shown.err.splitlines()) == 4


def test_text_inside_evidence_can_not_steer_the_terminal(here, capsys):
    """What a refusal quotes comes from the evidence: keys of JSON, names in certificates, a module's name."""
    evil = "\x1b[2J\x1b]0;owned\x07\u202e"
    (here / "json").write_text(json.dumps({evil: evil, "tcb_info": evil, "qe_identity": evil}))
    (here / "module").write_bytes(SyntheticNitro().document(payload=SyntheticNitro().payload(module_id=evil)))
    for words in (["sgx", "--collateral", "json"], ["module", "--at", str(NOW)]):
        assert run(["appraise", *words]) == 11
        shown = capsys.readouterr()
        assert not [c for c in shown.err + shown.out if not c.isprintable() and c != "\n"]


def test_a_quote_is_not_typed_into_a_terminal(here, capsys, monkeypatch):
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"\x04")  # end of file: without the defence this would wait for ever
        with open(theirs, closefd=False) as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            assert run(["appraise", "-"]) == 2
    finally:
        os.close(ours)
        os.close(theirs)
    assert "would be read from this terminal" in capsys.readouterr().err


def test_standard_input_is_bounded_too(here, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(64 * 1024 + 1))))
    assert run(["appraise", "-"]) == 2
    assert "larger than 65,536 bytes" in capsys.readouterr().err
