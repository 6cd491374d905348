// An OpenID provider for tests: npm oidc-provider on a loopback port, with real login and consent pages.
//
//   PORT              0 (the default) takes a free one
//   ALGS              RS256,ES256,EdDSA: one key of each; the first signs ID tokens
//   ID_TOKEN_SECONDS  life of an ID token, 300
//   PUSHED_ONLY       1: authorization requests must be pushed (RFC 9126); otherwise they may be
//   PAGE_REDIRECT     redirect URI of a web page's public client, strongroom-page; without it there is no such client
//
// Prints one JSON line {"issuer": …} on stdout when ready, everything else on stderr. Ends when stdin closes, so it never
// outlives the test that started it. POST /__rotate puts new signing keys in front; /__rotate?drop=1 also drops the old.
import { createServer } from 'node:http';
import { webcrypto } from 'node:crypto';
import { text } from 'node:stream/consumers';

console.log = console.info = console.error;
const { Provider } = await import('oidc-provider');

const ALGS = (process.env.ALGS || 'RS256,ES256,EdDSA').split(',');
const KEY_KINDS = {
  RS256: { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' },
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  EdDSA: { name: 'Ed25519' },
};
// Who is asked for the second signs in with a code, too; bob has none, and signs in with his password all the same.
const [PASSWORD, MFA] = ['urn:test:password', 'urn:test:mfa'];
const GROUPS = { alice: ['staff', 'keys'], bob: ['staff'], carol: ['staff'], mallory: [] };
const CODE_AND_DEVICE = ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'];
const CLIENTS = [{
  client_id: 'strongroom-native',
  application_type: 'native',
  token_endpoint_auth_method: 'none',
  redirect_uris: ['http://127.0.0.1/callback'], // native and loopback: any port is accepted (RFC 8252 §7.3)
  grant_types: CODE_AND_DEVICE,
  id_token_signed_response_alg: ALGS[0],
}, {
  client_id: 'strongroom-web',
  client_secret: 'strongroom-web-secret',
  redirect_uris: ['https://strongroom.example/callback'],
  grant_types: ['authorization_code'],
  id_token_signed_response_alg: ALGS[0],
}];
if (process.env.PAGE_REDIRECT) CLIENTS.push({
  client_id: 'strongroom-page',
  token_endpoint_auth_method: 'none',
  redirect_uris: [process.env.PAGE_REDIRECT],
  grant_types: ['authorization_code'],
  id_token_signed_response_alg: ALGS[0],
});

const server = createServer((request, response) => answer(request, response).catch((error) => {
  console.error(error);
  response.writeHead(500).end(String(error));
}));
await new Promise((ready) => server.listen(+(process.env.PORT || 0), '127.0.0.1', ready));
const ISSUER = `http://127.0.0.1:${server.address().port}`;

let generation = 0;
let keys = [];
let provider;
await rotate(false);
process.stdout.write(`${JSON.stringify({ issuer: ISSUER })}\n`);
process.stdin.resume().on('close', () => process.exit());

async function rotate(drop) {
  generation += 1;
  const fresh = await Promise.all(ALGS.map(async (alg) => {
    const { privateKey } = await webcrypto.subtle.generateKey(KEY_KINDS[alg], true, ['sign', 'verify']);
    const { key_ops, ext, ...jwk } = await webcrypto.subtle.exportKey('jwk', privateKey);
    return { ...jwk, alg, use: 'sig', kid: `${alg}-${generation}` };
  }));
  keys = drop ? fresh : [...fresh, ...keys];
  provider = build(); // keys are read once, by the constructor; sessions and codes live in the library's shared store
  return keys.map((key) => key.kid);
}

function build() {
  return new Provider(ISSUER, {
    clients: CLIENTS,
    jwks: { keys },
    cookies: { keys: ['only-for-tests'] },
    pkce: { required: () => true },
    conformIdTokenClaims: false, // claims of the granted scopes stand in the ID token itself
    acrValues: [PASSWORD, MFA],
    claims: {
      openid: ['sub', 'amr'],
      email: ['email', 'email_verified'],
      profile: ['name', 'groups'],
      groups: ['groups'],
    },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true },
      pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: !!process.env.PUSHED_ONLY },
    },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    ttl: {
      AccessToken: 300, AuthorizationCode: 60, DeviceCode: 600, Grant: 3600, Interaction: 600, Session: 3600,
      IdToken: +(process.env.ID_TOKEN_SECONDS || 300),
    },
    findAccount: (_, name) => GROUPS[name] && {
      accountId: name,
      claims: () => ({ sub: name, name, email: `${name}@example.com`, email_verified: true, groups: GROUPS[name] }),
    },
  });
}

async function answer(request, response) {
  const { pathname, searchParams } = new URL(request.url, ISSUER);
  if (pathname === '/__rotate' && request.method === 'POST') {
    return response.end(JSON.stringify(await rotate(searchParams.has('drop'))));
  }
  if (pathname.startsWith('/interaction/')) return interact(request, response);
  return provider.callback()(request, response);
}

async function interact(request, response) {
  const details = await provider.interactionDetails(request, response);
  const form = new URLSearchParams(request.method === 'POST' ? await text(request) : '');
  const step = { login, consent }[details.prompt.name];
  const result = request.method === 'POST' && await step(form, details);
  if (result) return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
  response.writeHead(form.size ? 401 : 200, { 'content-type': 'text/html' });
  return response.end(PAGES[details.prompt.name]);
}

const PAGES = {
  login: '<h1>Sign in</h1><form method="post"><input name="user"><input name="password" type="password"><button>Go</button></form>',
  consent: '<h1>Allow?</h1><form method="post"><input type="hidden" name="allow" value="yes"><button>Yes</button></form>',
};

async function login(form, { params }) {
  const user = form.get('user');
  const isStrong = user !== 'bob' && (params.acr_values ?? '').split(' ').includes(MFA);
  const how = isStrong ? { acr: MFA, amr: ['pwd', 'otp', 'mfa'] } : { acr: PASSWORD, amr: ['pwd'] };
  return GROUPS[user] && form.get('password') === `pw-${user}` && { login: { accountId: user, ...how } };
}

async function consent(form, { params, prompt, session, grantId }) {
  const grant = await provider.Grant.find(grantId ?? '')
    ?? new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  return { consent: { grantId: await grant.save() } };
}
