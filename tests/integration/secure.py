"""A Kafka that lets nobody in who does not prove who he is: TLS, passwords, tokens, certificates, and rights."""

from __future__ import annotations

import base64
import ipaddress
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.integration.kafka import Broker, free_port

#: Users of SCRAM and their passwords.
PASSWORDS = {"tocsin": "right horse", "gateway": "battery", "stranger": "staple"}
_LOGIN = "org.apache.kafka.common.security"


class Authority:
    """A CA of a test's own, which issues certificates into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.ca = folder / f"{name}.pem"
        certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=None))
        self.ca.write_bytes(certificate)

    def issue(self, name: str) -> Path:
        """Return the file of a new key and its certificate for a server on loopback, or a client called ``name``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self._folder / f"{name}.pem"
        path.write_bytes(pem + self._signed(subject, key, names, uses) + self.ca.read_bytes())
        return path

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class SecureBroker(Broker):
    """A node with three listeners; on ``bootstrap``, which only the test knows, everything is allowed.

    ``passwords`` (HOST:PORT) takes SCRAM and OAUTHBEARER over TLS, ``certificates`` mTLS. What no ACL allows is denied.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "pki", "ca")
        keys = self.authority.issue("broker")
        ports = free_port(), free_port()
        self.passwords, self.certificates = (f"127.0.0.1:{port}" for port in ports)
        scram = [f"SCRAM-SHA-512=[name={name},password={password}]" for name, password in PASSWORDS.items()]
        scram.append(f"SCRAM-SHA-256=[name=tocsin,password={PASSWORDS['tocsin']}]")
        super().__init__(
            folder,
            listeners=[f"SASL_SSL://{self.passwords}", f"SSL://{self.certificates}"],
            properties=f"""\
ssl.keystore.type=PEM
ssl.keystore.location={keys}
ssl.truststore.type=PEM
ssl.truststore.location={self.authority.ca}
ssl.principal.mapping.rules=RULE:^CN=(.*?)$/$1/,DEFAULT
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={_LOGIN}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={_LOGIN}.scram.ScramLoginModule required;
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config={_LOGIN}.oauthbearer.OAuthBearerLoginModule required \\
  unsecuredLoginStringClaim_sub="broker";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
""",
            format=[part for one in scram for part in ("--add-scram", one)],
        )


def token(user: str, lasts_s: float = 3600.0) -> str:
    """Return an unsigned token (JWS, "alg": "none"), which Kafka's validator for tests takes."""
    now = time.time()
    parts = {"alg": "none"}, {"sub": user, "iat": now, "exp": now + lasts_s}
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."
