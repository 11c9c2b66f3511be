"""A real broker that asks for a client's certificate (MTLS), a password (SCRAM) or a token (OAUTH), each over TLS.

Its listeners check access rules too. The plain listener, where everybody may do everything, is the administrator's.
"""

from __future__ import annotations

import base64
import http.server
import json
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from local.kafka import Broker
from local.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER, PASSWORD = "exchange", "wonder-land"
LISTENERS = {"PLAINTEXT": "PLAINTEXT", "MTLS": "SSL", "SCRAM": "SASL_SSL", "OAUTH": "SASL_SSL"}
_MODULES = "org.apache.kafka.common.security"


@dataclass
class SecureBroker:
    """Its listeners, and what a client needs for them."""

    addresses: dict[str, str]
    """host:port by the name of the listener."""
    ca: Path
    """The authority that signed the broker's certificate and the client's."""
    certificate: Path
    key: Path
    """The client's, encrypted with `PASSWORD`."""
    token_url: str
    tokens: list[str]
    """The requests for tokens, as they came."""


@contextmanager
def secure_broker(folder: Path) -> Iterator[SecureBroker]:
    """Run the broker and the server of its tokens."""
    make_certificates(folder)
    ports = {name: free_port() for name in (*LISTENERS, "CONTROLLER")}
    listeners = {name: f"{name}://127.0.0.1:{port}" for name, port in ports.items()}
    tls = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
    }
    broker = Broker(
        folder / "kafka",
        port=ports["PLAINTEXT"],
        properties={
            "listeners": ",".join(listeners.values()),
            "advertised.listeners": ",".join(listeners[name] for name in LISTENERS),
            "listener.security.protocol.map": ",".join(f"{n}:{p}" for n, p in LISTENERS.items())
            + ",CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:ANONYMOUS;User:CN={USER};User:{USER}",
            "listener.name.mtls.ssl.client.auth": "required",
            "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
            "listener.name.oauth.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.oauth.oauthbearer.sasl.jaas.config": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required"
            ' unsecuredLoginStringClaim_sub="broker";',
            # Whoever wants to stay must show a new token before the old one expires.
            "listener.name.oauth.oauthbearer.connections.max.reauth.ms": "60000",
        }
        | tls,
    )
    broker.controller_port = ports["CONTROLLER"]
    with broker, token_server() as (url, requests):
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(USER, credential, PASSWORD.encode())
        admin.alter_user_scram_credentials([change])[USER].result(10)
        yield SecureBroker(
            {name: f"127.0.0.1:{ports[name]}" for name in LISTENERS},
            folder / "ca.pem",
            folder / "client.pem",
            folder / "client.key",
            url,
            requests,
        )


def make_certificates(folder: Path) -> None:
    """Write an authority, a certificate of the broker, one of the client, and one of a stranger to the folder."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2")
    openssl(*new, "-nodes", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(*new, "-nodes", "-subj", "/CN=stranger", "-keyout", "stranger.key", "-out", "stranger.pem")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key")
    openssl(
        *new, *signed, "-nodes", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        "-keyout", "broker.key", "-out", "broker.crt",
    )  # fmt: skip
    openssl(
        *new,
        *signed,
        "-passout",
        f"pass:{PASSWORD}",
        "-subj",
        f"/CN={USER}",
        "-keyout",
        "client.key",
        "-out",
        "client.pem",
    )
    (folder / "broker.pem").write_text((folder / "broker.key").read_text() + (folder / "broker.crt").read_text())


@contextmanager
def token_server() -> Iterator[tuple[str, list[str]]]:
    """Run an OpenID provider's endpoint for tokens. Tokens are good for ten seconds. Yield its URL and what was asked."""
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            login = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            requests.append(f"{login} {asked}")
            body = json.dumps({"access_token": token(USER), "token_type": "Bearer", "expires_in": 10}).encode()
            known = login == f"{USER}:{PASSWORD}"
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body if known else b'{"error": "invalid_client"}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token", requests
    server.shutdown()
    server.server_close()
    thread.join()


def token(user: str) -> str:
    """Return an unsigned token, as Kafka's own validator for tests takes it."""
    now = time.time()
    claims = {"sub": user, "iat": now - 1, "exp": now + 10, "scope": "kafka"}
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
