import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import { afterEach, describe, expect, it } from "vitest";

import { EvaluationFloors } from "../src/attestation/floors.js";
import type { SgxReport } from "../src/attestation/reports.js";
import { formatAddress, parseAddress } from "../src/client/addresses.js";
import { Checkpoints } from "../src/client/checkpoints.js";
import { loadOrMakeKey } from "../src/client/keys.js";
import { publicKeyIn } from "../src/client/passkeys.js";
import { type Policy, anyoneSignedIn, depositor, depositorMay, instructions, knownMethod } from "../src/client/policy.js";
import { deliverRedirect, pendingAt, verifyRedirect } from "../src/client/redirect.js";
import { authorizationUrl, pushedUrl, verifyBrowserUrl, verifyOwnPage } from "../src/client/sign_in/browser.js";
import { plainCode } from "../src/client/sign_in/code.js";
import { SignInDesk } from "../src/client/sign_in/desk.js";
import { Standings } from "../src/client/standings.js";
import { MemoryShelf } from "../src/client/storage.js";
import { Transport, Unsealed, verifyUrl } from "../src/client/transport.js";
import { base64url, hex, unbase64url } from "../src/protocol/bytes.js";
import { decode, encode } from "../src/protocol/codec.js";
import { ErrorNumber, Misuse, Refused, type StrongroomError, Unavailable, Untrusted, fromNumber } from "../src/protocol/errors.js";
import { Method } from "../src/protocol/instructions.js";
import { fromJson, toJson } from "../src/protocol/json.js";
import { ById, Collect, Stored, Ticket, type TrustPolicy } from "../src/protocol/messages.js";
import { Domain, verifySignature } from "../src/protocol/primitives.js";

const numberOf = async (work: () => unknown): Promise<number> => {
  try {
    await work();
  } catch (error) {
    return (error as StrongroomError).number;
  }
  throw new Error("nothing was thrown");
};

describe("errors", () => {
  it("a number that is not known keeps its family", () => {
    expect(fromNumber(199)).toBeInstanceOf(Misuse);
    expect(fromNumber(299)).toBeInstanceOf(Refused);
    expect(fromNumber(399)).toBeInstanceOf(Untrusted);
    expect(fromNumber(499)).toBeInstanceOf(Unavailable);
    expect(fromNumber(0)).toBeInstanceOf(Unavailable);
    expect(fromNumber(299).message).toContain("unknown error number 299");
  });
});

describe("codec", () => {
  const id = new Uint8Array(16);
  const collect: Collect = { type: "collect", request_id: id, tickets: [], addresses: [{ by: "id", id }] };

  it("fields are written in the order of the type, whatever the order in the object", () => {
    const { addresses, tickets, request_id, type } = collect;
    expect(hex(encode(Collect, { addresses, tickets, request_id, type }))).toBe(hex(encode(Collect, collect)));
  });

  it.each([
    ["bytes of another length", { ...collect, request_id: new Uint8Array(15) }],
    ["an empty list where one is needed", { ...collect, addresses: [] }],
    ["another tag", { ...collect, type: "update" }],
    ["a field left out", { type: "collect", request_id: id, tickets: [] }],
    ["half a character", { ...collect, addresses: [{ by: "name", namespace: "\ud800", name: "x" }] }],
  ])("what no receiver would take is not written: %s", async (_what, value) => {
    expect(await numberOf(() => encode(Collect, value as Collect))).toBe(ErrorNumber.MALFORMED);
  });

  it("a number that JavaScript would round is refused, not rounded", async () => {
    const stored = encode(Stored, { type: "stored", versions: [2 ** 53 - 1] });
    expect(decode(stored, Stored, 99).versions).toEqual([2 ** 53 - 1]);
    stored.set([0x20, 0, 0, 0, 0, 0, 0], stored.length - 7); // 2^53
    expect(await numberOf(() => decode(stored, Stored, 99))).toBe(ErrorNumber.UNSUPPORTED);
    expect(await numberOf(() => encode(Stored, { type: "stored", versions: [2 ** 53] }))).toBe(ErrorNumber.MALFORMED);
  });

  it("what was decoded does not change with the bytes that it came in", () => {
    const ticket = encode(Ticket, { authenticator: new Uint8Array(32), sealed: Uint8Array.of(7) });
    const { sealed } = decode(ticket, Ticket, 99);
    ticket.fill(0);
    expect(sealed).toEqual(Uint8Array.of(7));
  });

  it("JSON is as strict: no other field, no other type", async () => {
    const json = { by: "id", id: "00".repeat(16) };
    expect(toJson(fromJson(ById, json))).toEqual(json);
    for (const bad of [{ ...json, more: 1 }, { by: "id" }, { by: "name", id: json.id }, { by: "id", id: "00" }, { by: "id", id: 0 }, null, []]) {
      expect(await numberOf(() => fromJson(ById, bad))).toBe(ErrorNumber.MALFORMED);
    }
  });
});

describe("bytes", () => {
  it("base64url has one text for each value", async () => {
    for (let size = 0; size < 50; size++) {
      const bytes = crypto.getRandomValues(new Uint8Array(size));
      expect(unbase64url(base64url(bytes))).toEqual(bytes);
    }
    for (const bad of ["A", "AB", "AA==", "A+", "A A", "AAAAB"]) expect(await numberOf(() => unbase64url(bad))).toBe(ErrorNumber.MALFORMED);
  });
});

describe("addresses", () => {
  it.each(["00112233445566778899aabbccddeeff", "team/report", "team/a/b"])("%s is read back as written", (text) => {
    expect(formatAddress(parseAddress(text))).toBe(text);
  });

  it.each(["", "0011", "team/", "/x", "team/a\u202eb", "team/a\nb", `team/${"x".repeat(257)}`])("%j is none", async (text) => {
    expect(await numberOf(() => parseAddress(text))).toBe(ErrorNumber.MALFORMED);
  });
});

describe("transport", () => {
  let close: () => void = () => undefined;
  afterEach(() => close());

  const at = (serve: (request: IncomingMessage, response: ServerResponse) => void): Promise<Transport> =>
    new Promise((resolve) => {
      const server = createServer(serve).listen(0, "127.0.0.1", () => {
        const address = server.address();
        if (typeof address === "object" && address !== null) resolve(new Transport(`http://127.0.0.1:${address.port}/vault/`));
      });
      close = (): void => {
        server.closeAllConnections();
        server.close();
      };
    });

  it("a redirect is not followed: a host would choose whom we talk to", async () => {
    const asked: (string | undefined)[] = [];
    const transport = await at((request, response) => {
      asked.push(request.url);
      response.writeHead(307, { location: "/elsewhere" }).end();
    });
    await expect(transport.evidence()).rejects.toThrow("redirects elsewhere");
    expect(asked).toEqual(["/vault/v1/evidence"]);
  });

  it("an endless answer is not read to its end", async () => {
    let sent = 0;
    const transport = await at((_request, response) => {
      const more = (): void => {
        if (response.destroyed) return;
        sent += 65_536;
        response.write(new Uint8Array(65_536), more);
      };
      more();
    });
    await expect(transport.hello(new Uint8Array(1))).rejects.toMatchObject({ number: ErrorNumber.INTEGRITY });
    expect(sent).toBeLessThan(50_000_000);
  });

  it.each([
    [ErrorNumber.REFUSED, "201", false],
    [ErrorNumber.BUSY, "401", true],
    [ErrorNumber.UNKNOWN_SESSION, "104", true],
  ])("number %i in clear is the network's word", async (number, header, passes) => {
    const transport = await at((_request, response) => {
      response.writeHead(400, { "strongroom-error": header }).end(Uint8Array.of(number >> 8, number & 255));
    });
    const error = await transport.frame(new Uint8Array(1)).catch((thrown: unknown) => thrown);
    if (!(error instanceof Unsealed)) throw error;
    expect(error.asError().number).toBe(passes ? number : ErrorNumber.INTERNAL);
    expect(error.asError()).not.toBeInstanceOf(Refused);
  });

  it("a page of a proxy is no answer of Strongroom", async () => {
    const transport = await at((_request, response) => response.writeHead(502).end("Bad gateway"));
    await expect(transport.frame(new Uint8Array(1))).rejects.toThrow("is no Strongroom server (HTTP status 502)");
  });

  it.each(["https://vault.example.com", "http://127.0.0.1:8400/", "/vault/"])("%s is the URL of a server", (url) => {
    expect(verifyUrl(url)).toBe(url.replace(/\/$/, ""));
  });

  it.each(["", "vault", "//evil.example", "javascript:alert(1)", "https://u@v.example", "https://v.example/?x", "/v#x", "ftp://v.example"])(
    "%s is none",
    async (url) => {
      expect(await numberOf(() => verifyUrl(url))).toBe(ErrorNumber.MALFORMED);
    },
  );
});

describe("sign-in", () => {
  const expected = { state: "s", issuer: "https://login.example.com", issRequired: true };
  const redirect = (untrustedQuery: string): string => verifyRedirect({ untrustedQuery }, expected);
  const ISS = "iss=https%3A%2F%2Flogin.example.com";

  it("takes the code of exactly this sign-in", () => {
    expect(redirect(`?code=c&state=s&${ISS}`)).toBe("c");
  });

  it.each([
    ["another state", `code=c&state=t&${ISS}`],
    ["no state", `code=c&${ISS}`],
    ["state twice", `code=c&state=s&state=s&${ISS}`],
    ["no issuer where one is needed", "code=c&state=s"],
    ["another issuer (mix-up)", "code=c&state=s&iss=https%3A%2F%2Fevil.example"],
    ["no code", `state=s&${ISS}`],
    ["a long code", `code=${"c".repeat(4097)}&state=s&${ISS}`],
  ])("refuses %s", async (_what, query) => {
    expect(await numberOf(() => redirect(query))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
  });

  it("a provider's words do not reach the page", () => {
    expect(() => redirect(`error=<b>call%20us</b>&state=s&${ISS}`)).toThrow("an error of its own");
    expect(() => redirect(`error=access_denied&state=s&${ISS}`)).toThrow("access_denied");
  });

  it("what is kept for a sign-in ages, and a clock set back does not make it young", async () => {
    const shelf = new MemoryShelf();
    for (const startedAt of [Date.now() - 301_000, Date.now() + 60_000, Number.NaN]) {
      await shelf.put("s", { details: {}, startedAt, returnTo: null, untrustedQuery: null });
      expect(await deliverRedirect("?state=s&code=c", shelf)).toEqual({ to: "nobody" });
      expect(await shelf.names()).toEqual([]);
    }
  });

  it("the callback page tells the page that waits, and keeps the code for it alone", async () => {
    const shelf = new MemoryShelf();
    await shelf.put("s", { details: {}, startedAt: Date.now(), returnTo: null, untrustedQuery: null });
    const heard = new Promise((resolve) => {
      const channel = new BroadcastChannel("strongroom-sign-in");
      channel.onmessage = ({ data }) => {
        channel.close();
        resolve(data);
      };
    });
    expect(await deliverRedirect("?state=s&code=c", shelf)).toEqual({ to: "opener" });
    expect(await heard).toBe("s");
    expect((await pendingAt(shelf, "s"))?.untrustedQuery).toBe("?state=s&code=c");
  });

  it("sends nobody to a provider that only the depositor of a record names", async () => {
    const client = { bindingKey: await loadOrMakeKey(new MemoryShelf()), now: () => 0 };
    const nobody = { authorize: () => Promise.reject(new Error("was sent away")) };
    const entrances = { signIn: nobody, providers: new Set(["https://login.example.com"]), authenticatorAt: (url: string) => url, shelf: new MemoryShelf(), standings: new Standings(new Checkpoints(new MemoryShelf()), () => undefined) };
    const desk = new SignInDesk({} as TrustPolicy, client, entrances); // refused before any Authenticator is met
    const audiences = [{ channel: "web" as const, client_id: "page", redirect_uri: "https://share.example.com/callback" }];
    const method = (issuer: string, digest: number) => ({ kind: "oidc" as const, digest: new Uint8Array(32).fill(digest), issuer, audiences, channels: ["web" as const] });
    const [known, stranger] = [method("https://login.example.com", 1), method("https://login.examp1e.com", 2)];
    const described = { authenticators: [{ url: "http://127.0.0.1:1", clusterId: new Uint8Array(32), capsule: new Uint8Array() }], quorum: 1 };
    const refusal = (methods: readonly (typeof known)[], chosen?: typeof known) =>
      numberOf(() => desk.signInAgain({ ...described, methods }, new Uint8Array(32), { method: chosen, joining: "alone" }));
    expect(await refusal([known, stranger], stranger)).toBe(ErrorNumber.TOKEN_UNTRUSTED);
    expect(() => desk.signInAgain({ ...described, methods: [stranger] }, new Uint8Array(32), { joining: "alone" })).toThrow("no sign-in method suits this page");
    expect([...desk.ways({ ...described, methods: [stranger, known] }).pairs]).toEqual([`${"00".repeat(32)}:${"01".repeat(32)}`]);
  });

  it.each([
    "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
    "https://login.example.com:8443/auth",
    "https://login.example.com.evil.example/auth",
    "http://127.0.0.1/auth",
  ])("a provider can't show %s as its own page, and so get another one's code", async (url) => {
    expect(await numberOf(() => verifyOwnPage(url, "https://login.example.com/tenant"))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
    expect(() => verifyOwnPage("https://login.example.com/auth?x=1", "https://login.example.com/tenant")).not.toThrow();
  });

  it.each([
    "javascript:alert(1)",
    "data:text/html,x",
    "file:///etc/passwd",
    "http://login.example.com/",
    "https://user@login.example.com/",
    "https://login.example.com/\u0000",
    "https://login.example.com/#fragment",
    "https:login.example.com",
    "https:///login.example.com",
    "https://@login.example.com",
    "//login.example.com",
  ])("a provider can't send the user to %j", async (url) => {
    expect(await numberOf(() => verifyBrowserUrl(url))).toBe(ErrorNumber.TOKEN_UNTRUSTED);
  });

  it.each(["https://login.example.com/auth?x=1", "http://127.0.0.1:9000/auth", "http://localhost/auth"])("but to %s", (url) => {
    expect(() => verifyBrowserUrl(url)).not.toThrow();
  });
});

describe("what the browser carries to a provider", () => {
  const begun = {
    type: "begun" as const,
    issuer: "https://login.example.com",
    authorization_endpoint: "https://login.example.com/auth?tenant=a",
    client_id: "page",
    redirect_uri: "https://share.example.com/callback",
    scope: "openid email",
    iss_in_redirect: true,
    acr_values: "silver gold",
    max_age: 300,
    pushed: false,
  };
  const own = { state: "s", nonce: "n", verifier: "v".repeat(43), prompt: "login" };
  const query = (url: string): object => Object.fromEntries(new URL(url).searchParams);

  it("is the whole request, with the strength and age that the method asks for", async () => {
    expect(query(await authorizationUrl(begun, own))).toMatchObject({ tenant: "a", state: "s", nonce: "n", prompt: "login", acr_values: "silver gold", max_age: "300" });
  });

  it("asks for nothing that the method does not ask for", async () => {
    const plain = query(await authorizationUrl({ ...begun, acr_values: "", max_age: 0 }, { ...own, prompt: "" }));
    for (const name of ["acr_values", "max_age", "prompt"]) expect(plain).not.toHaveProperty(name);
  });

  it("is no more than a reference where the request was pushed", () => {
    expect(query(pushedUrl(begun, "urn:ietf:params:oauth:request_uri:x&scope=all"))).toEqual({
      tenant: "a",
      client_id: "page",
      request_uri: "urn:ietf:params:oauth:request_uri:x&scope=all",
    });
  });
});

describe("instructions", () => {
  it("lock out nobody unawares who can only sign in as they may be tricked into", async () => {
    const codes = { sender: "codes@example.com" };
    const secret = { server: "smtps://mail.example.com", user: "", password: "" };
    const definition = { type: "email-code", public: codes, secret, certificates: new Uint8Array(), addresses: ["bob@example.com"], domains: [] } as const;
    const method = await knownMethod(encode(Method, definition));
    const authenticators = [{ url: "https://a.test", policy: new Uint8Array() }];
    const collect = anyoneSignedIn(method).allowPhishable().may("collect");
    const made = (rules: Policy): Promise<number> => numberOf(() => instructions({ authenticators, methods: [method], rules }));
    expect(await made(collect.or(depositorMay("update", "delete")))).toBe(ErrorNumber.LOCKS_OUT);
    const theirs = collect.or(depositor().allowPhishable().may("update", "delete"));
    expect(() => instructions({ authenticators, methods: [method], rules: theirs })).not.toThrow();
  });
});

describe("a code", () => {
  it.each([" 1234 5678\n", "1234-5678", "1234\u20135678", "12345678"])("is taken as it is pasted: %j", (typed) => {
    expect(plainCode(typed)).toBe("12345678");
  });
});

describe("the binding key", () => {
  it("is made once, signs, and can't be read", async () => {
    const shelf = new MemoryShelf();
    const [one, same] = await Promise.all([loadOrMakeKey(shelf), loadOrMakeKey(shelf)]);
    expect(hex(one.public)).toBe(hex(same.public));
    const signature = await one.sign(Domain.PROOF, new Uint8Array(32));
    await verifySignature(same.public, signature, Domain.PROOF, new Uint8Array(32));
    const pair = (await shelf.get("binding key")) as CryptoKeyPair;
    await expect(crypto.subtle.exportKey("jwk", pair.privateKey)).rejects.toThrow();
  });

  it("that another script put there so that it could read it is not used", async () => {
    const shelf = new MemoryShelf();
    const readable = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
    await shelf.put("binding key", readable);
    const theirs = new Uint8Array(await crypto.subtle.exportKey("raw", readable.publicKey));
    expect(hex((await loadOrMakeKey(shelf)).public)).not.toBe(hex(theirs));
  });
});

describe("passkeys", () => {
  const data = (flags: number, key: readonly number[]): Uint8Array<ArrayBuffer> =>
    Uint8Array.from([...new Array<number>(32).fill(0), flags, 0, 0, 0, 0, ...new Array<number>(16).fill(0), 0, 2, 9, 9, ...key]);

  it("the public key is what stands behind the credential id", () => {
    expect(publicKeyIn(data(0x45, [0xa5, 1]))).toEqual(Uint8Array.of(0xa5, 1));
  });

  it.each([
    ["nothing attested", data(0x05, [0xa5])],
    ["extensions behind the key", data(0xc5, [0xa5])],
    ["no key", data(0x45, [])],
    ["nothing at all", new Uint8Array()],
  ])("refuses %s", async (_what, bytes) => {
    expect(await numberOf(() => publicKeyIn(bytes))).toBe(ErrorNumber.METHOD_INVALID);
  });
});

describe("editions of Intel's assessment", () => {
  const cluster = new Uint8Array(32).fill(3);
  const report = (tcbEvaluationNumber: number, platform = 1): SgxReport =>
    ({ platform: "sgx", intel: { tcbEvaluationNumber, platformId: new Uint8Array(16).fill(platform) } }) as SgxReport;

  it("a machine never goes back to an older one", async () => {
    const floors = new EvaluationFloors();
    for (const number of [17, 18, 18]) {
      floors.verify(report(number), cluster);
      floors.note(report(number), cluster);
    }
    floors.note(report(17), cluster);
    expect(await numberOf(() => floors.verify(report(17), cluster))).toBe(ErrorNumber.POLICY);
    // Machines learn of a new edition days apart, so do two hosts on one.
    floors.verify(report(17, 2), cluster);
    floors.verify(report(17), new Uint8Array(32));
  });

  it("a flood of machines does not make it forget the one in use", async () => {
    const floors = new EvaluationFloors();
    for (let at = 0; at < 3000; at++) {
      floors.note(report(18), cluster);
      floors.note({ ...report(18), intel: { ...report(18).intel, platformId: Uint8Array.of(at >> 8, at & 255) } }, cluster);
    }
    expect(await numberOf(() => floors.verify(report(1), cluster))).toBe(ErrorNumber.POLICY);
  });
});
