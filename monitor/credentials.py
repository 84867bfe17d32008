"""How clients prove to Kafka who they are: a certificate (mTLS), a password (SCRAM, PLAIN) or a token (OAUTHBEARER).

What lies in files is read anew for every connection, so that a secret that is replaced while the monitor runs is used
from the next connection on.
"""

from __future__ import annotations

import base64
import ssl
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import aiohttp
import msgspec
from aiokafka.abc import AbstractTokenProvider
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, OAuthAuthenticator, create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.protocol.metadata import MetadataRequest

from monitor.errors import StartupError
from monitor.settings import Settings, stamp

#: How long before its end a token is asked for anew, s.
EARLY_S = 30.0
#: How long an endpoint of tokens, or a broker that is asked why it refuses, may take, ms.
PATIENCE_MS = 10_000
#: The settings that name files for TLS.
_TLS = ("ssl_ca_file", "ssl_certificate_file", "ssl_key_file")


class FileContext(ssl.SSLContext):
    """TLS that verifies brokers by a file of CAs (None: the system's), and shows a certificate, as they lie there now.

    Raises
    ------
    OSError
        A file cannot be read; `ssl.SSLError`, one of them, where it holds no certificate, or not the key's.
    """

    _files: tuple[Path | None, Path | None, Path | None]
    _read: list[int]

    def __new__(cls, ca: Path | None, certificate: Path | None, key: Path | None) -> FileContext:
        made = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made._files, made._read = (ca, certificate, key), []
        if ca is None:
            made.load_default_certs()
        made.refresh()
        return made

    def __init__(self, *_: Path | None) -> None:
        """All is done by then; the base would take the first argument for a version of TLS."""

    def refresh(self) -> None:
        """Read the files where one has changed. CAs that were trusted stay so until the process ends."""
        found = [path.stat().st_mtime_ns for path in self._files if path is not None]
        if found == self._read:
            return
        ca, certificate, key = self._files
        if ca is not None:
            self.load_verify_locations(ca)
        if certificate is not None:
            self.load_cert_chain(certificate, key)
        self._read = found


class PasswordFile(str):
    """The password that stands in a file, as it was when this was made."""

    __slots__ = ("path",)
    path: Path

    def __new__(cls, path: Path) -> PasswordFile:
        made = super().__new__(cls, _text(path))
        made.path = path
        return made


class TokenFile(AbstractTokenProvider):
    """A bearer token that stands in a file, such as a projected service account's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        """Return the token of now."""
        return _text(self._path)


class TokenError(OSError):
    """No token can be had; the text says from where, and why."""


class _Granted(msgspec.Struct):
    """What an authorization server answers (RFC 6749, 5.1); ``expires_in`` in s."""

    access_token: str
    expires_in: float = 0.0


_granted = msgspec.json.Decoder(_Granted, strict=False).decode


class TokenEndpoint(AbstractTokenProvider):
    """Asks an authorization server for tokens by client credentials (RFC 6749, 4.4), and keeps one while it is good."""

    def __init__(self, url: str, client: str, secret: str, scope: str) -> None:
        self._url, self._scope = url, scope
        self._client, self._secret = client, secret
        self._token, self._until_s = "", 0.0

    async def token(self) -> str:
        """Return the token of now; raise `TokenError` where none is given."""
        if time.monotonic() < self._until_s:
            return self._token
        asked = {"grant_type": "client_credentials"} | ({"scope": self._scope} if self._scope else {})
        login = ":".join(map(quote_plus, (self._client, _now(self._secret))))
        headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(PATIENCE_MS / 1e3)) as session,
                session.post(self._url, data=asked, raise_for_status=True) as answer,
            ):
                told = _granted(await answer.read())
            self._token, self._until_s = told.access_token, time.monotonic() + told.expires_in - EARLY_S
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise TokenError(f"TOCSIN_SASL_TOKEN_URL {self._url} gives no token: {_said(error)}") from error
        return self._token


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise OSError(f"{path} is no text: {error.reason}") from error
    if not text:
        raise OSError(f"{path} is empty")
    return text


def _now(password: str) -> str:
    return _text(password.path) if isinstance(password, PasswordFile) else password


_connect = AIOKafkaConnection.connect


async def _connect_as_now(connection: AIOKafkaConnection) -> Any:
    """Connect with the credentials of now: aiokafka keeps those with which a client was made."""
    if isinstance(connection._ssl_context, FileContext):
        connection._ssl_context.refresh()
    if connection._sasl_plain_password is not None:
        connection._sasl_plain_password = _now(connection._sasl_plain_password)
    return await _connect(connection)


_close = AIOKafkaConnection.close


def _drop(connection: AIOKafkaConnection, *given: Any, **more: Any) -> Any:
    """Close a connection at once, over TLS too: by then everything was answered, or nothing will be.

    uvloop would wait up to 30 s for the broker's goodbye.
    """
    if connection._ssl_context is not None and connection._writer is not None:
        connection._writer.close = connection._writer.transport.abort
    return _close(connection, *given, **more)


AIOKafkaConnection.close = _drop
AIOKafkaConnection.connect = _connect_as_now

_answer = OAuthAuthenticator.step


async def _answer_to_the_end(authenticator: OAuthAuthenticator, payload: bytes | None) -> Any:
    """Answer the broker as RFC 7628, 3.2.3 has it: what it says of a token that it refuses wants a last answer.

    aiokafka takes that for consent, and whatever is asked next for an empty cluster.
    """
    return (b"\x01", True) if payload else await _answer(authenticator, payload)


OAuthAuthenticator.step = _answer_to_the_end


def options(settings: Settings) -> dict[str, Any]:
    """Return what an aiokafka client is built with to be let in; each call's are one client's own.

    Raises
    ------
    StartupError
        Settings contradict each other or one is missing, or a file that one names cannot be used.
    """
    if told := contradiction(settings):
        raise StartupError(told)
    protocol = settings.security_protocol
    found: dict[str, Any] = {"security_protocol": protocol}
    try:
        if protocol.endswith("SSL"):
            files = settings.ssl_ca_file, settings.ssl_certificate_file, settings.ssl_key_file
            found["ssl_context"] = FileContext(*files)
        if protocol.startswith("SASL"):
            found["sasl_mechanism"] = settings.sasl_mechanism
            password = settings.sasl_password.get_secret_value() if settings.sasl_password else None
            if settings.sasl_password_file:
                password = PasswordFile(settings.sasl_password_file)
            if settings.sasl_token_file:
                _text(settings.sasl_token_file)
                found["sasl_oauth_token_provider"] = TokenFile(settings.sasl_token_file)
            elif settings.sasl_token_url:
                given = settings.sasl_token_url, settings.sasl_username, password or "", settings.sasl_scope
                found["sasl_oauth_token_provider"] = TokenEndpoint(*given)
            else:
                found |= {"sasl_plain_username": settings.sasl_username, "sasl_plain_password": password}
    except ssl.SSLError as error:
        named = _named(settings, _TLS)
        raise StartupError(
            f"{named} cannot be used ({error.reason or error}): expected PEM, the CAs that signed the brokers'"
            " certificates in the first, a certificate and its key in the others."
        ) from error
    except OSError as error:
        raise StartupError(
            f"A secret cannot be read ({error}): mount it, or correct the setting that names it."
        ) from error
    return found


class Mounted:
    """Whether the secrets of the settings can be used still: they are looked at where one was replaced.

    Connections that stand go on; none could be made by what cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        named = (getattr(settings, name) for name in ("sasl_password_file", "sasl_token_file", *_TLS))
        self._paths = [path for path in named if path is not None]
        self._seen = [stamp(path) for path in self._paths]
        #: What is wrong with them, a sentence; empty where nothing is.
        self.told = ""

    def look(self) -> str:
        """Return a sentence where they were replaced by what cannot be used, else nothing."""
        before, self._seen = self._seen, [stamp(path) for path in self._paths]
        if self._seen == before:
            return ""
        try:
            options(self._settings)
            self.told = ""
        except StartupError as error:
            self.told = str(error)
        return self.told


def contradiction(settings: Settings) -> str:
    """Return the sentence on what of the settings does not go together, "" where all does."""
    protocol, mechanism = settings.security_protocol, settings.sasl_mechanism
    of_sasl = ("sasl_username", "sasl_password", "sasl_password_file", "sasl_token_file", "sasl_token_url")
    for fields, used in ((of_sasl, protocol.startswith("SASL")), (_TLS, protocol.endswith("SSL"))):
        if not used and (given := _named(settings, fields)):
            wanted = "SASL_SSL" if fields is of_sasl else "SSL or SASL_SSL"
            return f"{given} is given, and TOCSIN_SECURITY_PROTOCOL is {protocol}: set that to {wanted}."
    if settings.ssl_key_file and not settings.ssl_certificate_file:
        return "TOCSIN_SSL_KEY_FILE is given without its certificate: set TOCSIN_SSL_CERTIFICATE_FILE."
    if not protocol.startswith("SASL"):
        return ""
    passwords = [bool(settings.sasl_password), bool(settings.sasl_password_file)].count(True)
    tokens = [bool(settings.sasl_token_file), bool(settings.sasl_token_url)].count(True)
    if tokens and mechanism != "OAUTHBEARER":
        return f"A token is given, and TOCSIN_SASL_MECHANISM is {mechanism}: set that to OAUTHBEARER."
    if mechanism == "OAUTHBEARER" and tokens != 1:
        return "OAUTHBEARER wants a token: set either TOCSIN_SASL_TOKEN_FILE or TOCSIN_SASL_TOKEN_URL."
    if (mechanism != "OAUTHBEARER" or settings.sasl_token_url) and not (settings.sasl_username and passwords == 1):
        return (
            f"{mechanism} wants a user and one password: set TOCSIN_SASL_USERNAME, and either TOCSIN_SASL_PASSWORD_FILE"
            " or TOCSIN_SASL_PASSWORD."
        )
    return ""


def _named(settings: Settings, fields: tuple[str, ...]) -> str:
    return ", ".join(f"TOCSIN_{name.upper()}" for name in fields if getattr(settings, name))


def of_faust(settings: Settings) -> Any:
    """Return the same for a Faust application, None where nothing is asked; raises as `options` does."""
    from faust.auth import OAuthCredentials, SASLCredentials, SSLCredentials

    found = options(settings)
    context = found.get("ssl_context")
    if "sasl_oauth_token_provider" in found:
        return OAuthCredentials(oauth_cb=found["sasl_oauth_token_provider"], ssl_context=context)
    if "sasl_mechanism" in found:
        return SASLCredentials(
            username=found["sasl_plain_username"],
            password=found["sasl_plain_password"],
            mechanism=found["sasl_mechanism"],
            ssl_context=context,
        )
    return SSLCredentials(context) if context else None


async def refusal(settings: Settings) -> str:
    """Return why no broker lets a client in, a sentence: aiokafka tells only that none did."""
    client = AIOKafkaClient(bootstrap_servers=settings.bootstrap)
    told = "it answers now"
    for host, port, _ in client.hosts:
        at = f"{host}:{port}"
        try:
            connection = await create_conn(host, port, request_timeout_ms=PATIENCE_MS, **options(settings))
        except ssl.SSLCertVerificationError as error:
            vouches = settings.ssl_ca_file or "the system's CAs"
            return (
                f"The certificate of the broker at {at} is not vouched for by {vouches} ({error.verify_message}): set"
                " TOCSIN_SSL_CA_FILE to the CA that signed it, and TOCSIN_BOOTSTRAP to a name that it holds."
            )
        except ssl.SSLError as error:
            return (
                f"No TLS can be had with the broker at {at} ({error.reason}): TOCSIN_SECURITY_PROTOCOL is"
                f" {settings.security_protocol}, is this the listener's? And does it trust TOCSIN_SSL_CERTIFICATE_FILE?"
            )
        except SaslAuthenticationFailed as error:
            shown = "the token" if settings.sasl_mechanism == "OAUTHBEARER" else f"user {settings.sasl_username!r}"
            return (
                f"The broker at {at} refuses {shown} by {settings.sasl_mechanism} ({error}): correct the setting"
                f" {_named(settings, ('sasl_username', 'sasl_password', 'sasl_password_file', 'sasl_token_file'))}."
            )
        except UnsupportedSaslMechanismError as error:
            return (
                f"TOCSIN_SASL_MECHANISM is {settings.sasl_mechanism}, which the broker at {at} does not take ({error})."
            )
        except (KafkaError, ConnectionResetError) as error:
            return _closed(settings, at, error)
        except TokenError as error:
            return (
                f"{error}. Correct it, or what is asked of it (TOCSIN_SASL_USERNAME, its password, TOCSIN_SASL_SCOPE)."
            )
        except (OSError, TimeoutError) as error:
            told = f"{at}: {_said(error)}"
            continue
        try:
            await connection.send(MetadataRequest([]))
        except (TimeoutError, KafkaError) as error:
            return _closed(settings, at, error)
        finally:
            connection.close()
    return (
        f"No Kafka broker answers at {settings.bootstrap} ({told}): start it, or set TOCSIN_BOOTSTRAP to HOST:PORT of"
        " one."
    )


def _closed(settings: Settings, at: str, error: BaseException) -> str:
    protocol = settings.security_protocol
    wants = (
        "a client certificate that it trusts (TOCSIN_SSL_CERTIFICATE_FILE), or a password (SASL_SSL)"
        if protocol == "SSL"
        else "TLS, a password, or neither"
    )
    return (
        f"The broker at {at} closed the connection ({_said(error)}): TOCSIN_SECURITY_PROTOCOL is"
        f" {protocol}, and its listener may want {wants}."
    )


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
