"""A Vault as far as sessions and its log go, whose host owns even the log's key: it can show anything.

Sessions and evidence are real. It stands in for `transport.Transport`; tests replace `freshness` and `logged`.
"""

import secrets

from strongroom.client.checkpoints import MemoryCheckpoints
from strongroom.client.freshness import Watch
from strongroom.client.session import AttestedServer
from strongroom.protocol.cluster_messages import AskCharter, CharterIs
from strongroom.protocol.codec import decode, encode
from strongroom.protocol.governance import Charter, SignedGenesis
from strongroom.protocol.leaves import log_origin
from strongroom.protocol.limits import MAX_MESSAGE
from strongroom.protocol.log_messages import Freshen, Freshness, Logged, Trail, TrailOf
from strongroom.protocol.messages import Prove, Proved
from strongroom.protocol.notes import cosign, parse_checkpoint
from strongroom.protocol.primitives import SigningKey
from strongroom.protocol.session import answer_hello, open_hello, reply_message
from strongroom.protocol.vault_messages import Delete, Deleted, Described, VaultRequest
from tests.support import policies
from tests.support.evidence import NOW, Cluster, changed
from tests.support.witnesses import GrowingLog

URL = "https://vault.example.com"


class FakeVault:
    def __init__(self, *, witnesses=(), cosignatures=0, size=5, council=None):
        self.cluster = Cluster("vault", witnesses=witnesses, cosignatures=cosignatures, council=council)
        self.claims = {}
        self.charter = self.no_charter
        self.log = GrowingLog(log_origin(self.cluster.id), self.cluster.log_key).grow_to(size)
        self.signers = [policies.witness_signer(at) for at in range(len(witnesses))]
        self.cosigned_at = NOW
        self.now = NOW
        self.trust = changed(
            policies.trust(self.cluster.policy()), witnesses=list(witnesses), cosignatures=cosignatures
        )
        self.asked = []
        self.freshness = self.honest_freshness
        self.logged = self.honestly_logged
        self.trail = []
        self._sessions = {}

    def client(self, monkeypatch, checkpoints=None, notice=None, **changes):
        """A client of this Vault."""
        monkeypatch.setattr("strongroom.client.session.Transport", lambda url: self)
        trust = changed(self.trust, **changes)
        watch = Watch(
            URL,
            trust,
            MemoryCheckpoints() if checkpoints is None else checkpoints,
            lambda: self.now,
            print if notice is None else notice,
        )
        return AttestedServer(
            URL,
            role="vault",
            policy=trust.vault,
            binding_key=SigningKey.generate(),
            now=lambda: self.now,
            watch=watch,
        )

    def note(self, size=None, *, log=None):
        """A checkpoint with the cosignatures of all its witnesses."""
        log = log or self.log
        return self.cosigned(log.note(size))

    def cosigned(self, note):
        signed = parse_checkpoint(note)
        names = [f"witness-{at}.example" for at in range(len(self.signers))]
        lines = [
            cosign(key, name, signed.checkpoint, self.cosigned_at)
            for key, name in zip(self.signers, names, strict=True)
        ]
        return signed.with_lines(lines).note

    async def honest_freshness(self, request):
        proof = await self.log.proof(request.size) if 0 < request.size < self.log.size else []
        return Freshness(checkpoint=self.note(), proof=proof, cosigned=None)

    async def honestly_logged(self, reply):
        return Logged(checkpoint=self.log.note(), reply=encode(reply))

    async def no_charter(self):
        raise AssertionError("nobody should ask")

    def show_charter(self, gaps, *, recoveries, successions=()):
        """Answer with the cluster's charter, in which these were signed."""
        charter = Charter(
            genesis=SignedGenesis(statement=self.cluster.genesis, accepted=[]),
            successions=list(successions),
            gaps=list(gaps),
            recoveries=recoveries,
            releases=b"",
            named=[],
        )

        async def answer():
            return CharterIs(charter=encode(charter), pending=b"")

        self.charter = answer

    # --- as `Transport` -------------------------------------------------------------------------------------------

    async def evidence(self):
        return self.cluster.evidence(self.cluster.claims(**self.claims)) if self.claims else self.cluster.evidence()

    async def hello(self, sealed):
        hello = open_hello(self.cluster.kem, sealed)
        answer, channel = answer_hello(
            "vault",
            sealed,
            hello,
            session_id=secrets.token_bytes(16),
            server_seed=secrets.token_bytes(32),
            salt=secrets.token_bytes(32),
        )
        self._sessions[channel.session_id] = channel
        return answer

    async def frame(self, frame):
        channel = self._sessions[frame[:16]]
        counter, message = channel.open(frame)
        request = decode(message, VaultRequest | AskCharter, limit=MAX_MESSAGE)
        self.asked.append(request)
        return channel.seal(reply_message(counter, encode(await self._answer(request))))[1]

    async def _answer(self, request):
        match request:
            case Prove():
                return Proved()
            case AskCharter():
                return await self.charter()
            case Freshen():
                return await self.freshness(request)
            case Delete():
                return await self.logged(Deleted(version=2, epoch=1))
            case Trail():
                entries = self.trail[: request.limit]
                return await self.logged(TrailOf(version=1, entries=entries, checkpoint=self.log.note()))
            case _:
                return await self.logged(Described(authenticators=[], quorum=1, methods=[]))

    async def aclose(self):
        pass
