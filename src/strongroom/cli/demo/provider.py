"""The demo's sign-in provider, as a process: `python -m strongroom.cli.demo.provider`; ends when its stdin does.

It is `oidc-provider-mock`, a development provider: whoever names a user is that user, no password is asked, and
it does not check PKCE. Everything the Authenticator itself checks (issuer, audience, nonce, signature, verified
e-mail) is real.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from typing import Final

from strongroom.cli.demo.leash import hold

USERS: Final = ("alice", "bob", "mallory")
CLIENT_ID: Final = "strongroom-demo"
CLIENT_SECRET: Final = "strongroom-demo-secret"  # noqa: S105 (the provider takes any)


def email_of(user: str) -> str:
    return f"{user}@example.com"


def main() -> None:
    """Serve on the loopback port given (0: a free one); one JSON line on stdout says where."""
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback only
    warnings.simplefilter("ignore")  # deprecations inside the provider's own dependencies
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from oidc_provider_mock import User, _app, app
    from werkzeug.serving import make_server

    # A page has no secret; this provider has no setting for that.
    _app.AuthorizationCodeGrant.TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic", "client_secret_post", "none"]
    users = [User(sub=user, claims={"email": email_of(user), "email_verified": True}) for user in USERS]
    server = make_server("127.0.0.1", int(sys.argv[1]), app(user_claims=users, require_nonce=True), threaded=True)
    hold()
    print(json.dumps({"issuer": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
