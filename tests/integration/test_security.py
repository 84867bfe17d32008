"""A Kafka that denies what is not allowed: every way to be let in, what a wrong secret says, and least privilege."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from monitor import kafka
from monitor.acls import Role, acls
from monitor.errors import StartupError
from monitor.settings import Settings
from tests.integration.daemon import Feed, Watch, Worker, day, until
from tests.integration.kafka import KafkaUnavailableError, messages_of
from tests.integration.secure import PASSWORDS, Authority, SecureBroker, token

pytestmark = pytest.mark.integration
PREFIX = "secured."


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    folder = tmp_path_factory.mktemp("secure")
    try:
        node = SecureBroker(folder)
    except KafkaUnavailableError as error:
        pytest.skip(f"needs a Kafka of its own: {error}")
    node.start()
    try:
        asyncio.run(kafka.create_topics(Settings(bootstrap=node.bootstrap, prefix=PREFIX, partitions=2)))
        allow(node, "worker", "tocsin")
        allow(node, "gateway", "gateway")
        yield node
    finally:
        node.stop()


def allow(node: SecureBroker, role: Role, user: str) -> None:
    """Set on the broker what `tocsin topics acls` names."""
    bindings = [
        AclBinding(
            ResourceType[acl.resource.upper()],
            acl.name,
            ResourcePatternType.PREFIXED if acl.prefixed else ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation["DESCRIBE_CONFIGS" if acl.operation == "DescribeConfigs" else acl.operation.upper()],
            AclPermissionType.ALLOW,
        )
        for acl in acls(Settings(prefix=PREFIX, group=PREFIX + "group"), role)
    ]
    client = AdminClient({"bootstrap.servers": node.bootstrap})
    for future in client.create_acls(bindings).values():
        future.result()
    mine = AclBindingFilter(
        ResourceType.ANY,
        None,
        ResourcePatternType.ANY,
        f"User:{user}",
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    # The controller has them; the broker learns of them a moment later.
    while len(client.describe_acls(mine).result()) < len(bindings):
        time.sleep(0.05)


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[str, list[str]]]:
    """An authorization server's address, and what it was asked."""
    asked: list[str] = []

    async def give(request: web.Request) -> web.Response:
        login, form = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")), await request.post()
        asked.append(f"{login.decode()} {form['grant_type']} {form['scope']}")
        return web.json_response({"access_token": token("tocsin"), "expires_in": 3600})

    site = web.Application()
    site.router.add_post("/token", give)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/token", asked
    await runner.cleanup()


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    """Files of secrets as they would be mounted."""
    files = {"password": PASSWORDS["tocsin"] + "\n", "wrong": "wrong", "token": token("tocsin"), "old": token("x", -60)}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in files}


def secured(node: SecureBroker, **others: object) -> Settings:
    """Settings of a client on the listener of passwords; `None` leaves one out."""
    usual = {"bootstrap": node.passwords, "security_protocol": "SASL_SSL", "ssl_ca_file": node.authority.ca}
    given = usual | {"prefix": PREFIX, "group": PREFIX + "group", "http_port": 0, "partitions": 2} | others
    return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "how",
    [
        {"sasl_username": "tocsin", "sasl_password_file": "password"},
        {"sasl_username": "tocsin", "sasl_password_file": "password", "sasl_mechanism": "SCRAM-SHA-256"},
        {"sasl_username": "tocsin", "sasl_password": PASSWORDS["tocsin"]},
        {"sasl_mechanism": "OAUTHBEARER", "sasl_token_file": "token"},
    ],
    ids=["a file", "SCRAM-SHA-256", "a variable", "a token"],
)
async def test_who_proves_who_he_is_sees_the_topics_that_he_may(
    secure: SecureBroker, written: dict[str, Path], how: dict[str, str]
) -> None:
    settings = secured(secure, **{name: written.get(value, value) for name, value in how.items()})
    seen = set(await kafka.partition_counts(settings))
    assert {PREFIX + "frames", PREFIX + "alerts"} <= seen
    assert PREFIX + "ticks" not in seen  # the gateway's


async def test_a_certificate_is_a_user_too(secure: SecureBroker) -> None:
    ours = secure.authority.issue("gateway")
    settings = secured(secure, bootstrap=secure.certificates, security_protocol="SSL", ssl_certificate_file=ours)
    seen = set(await kafka.partition_counts(settings))
    assert seen == {PREFIX + name for name in ("ticks", "documents", "frames", "news", "deadletters")}


async def test_tokens_come_from_an_endpoint_once_a_client(
    secure: SecureBroker, endpoint: tuple[str, list[str]]
) -> None:
    url, asked = endpoint
    settings = secured(
        secure,
        sasl_mechanism="OAUTHBEARER",
        sasl_token_url=url,
        sasl_username="me",
        sasl_password="mine",
        sasl_scope="k",
    )
    assert PREFIX + "frames" in await kafka.partition_counts(settings)
    assert asked == ["me:mine client_credentials k"]  # of several connections
    settings = settings.model_copy(update={"sasl_token_url": url + "/nothing"})
    with pytest.raises(StartupError, match=r"TOCSIN_SASL_TOKEN_URL .*/nothing gives no token: .*404"):
        await kafka.partition_counts(settings)


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "password": (
        {"sasl_username": "tocsin", "sasl_password_file": "wrong"},
        r"refuses user 'tocsin' by SCRAM-SHA-512 .*TOCSIN_SASL_PASSWORD_FILE",
    ),
    "user": ({"sasl_username": "nobody", "sasl_password_file": "password"}, r"refuses user 'nobody'"),
    "token": ({"sasl_mechanism": "OAUTHBEARER", "sasl_token_file": "old"}, r"refuses the token by OAUTHBEARER"),
    "mechanism": (
        {"sasl_username": "tocsin", "sasl_password_file": "password", "sasl_mechanism": "PLAIN"},
        r"TOCSIN_SASL_MECHANISM is PLAIN, which the broker at .* does not take",
    ),
    "CA": (
        {"sasl_username": "tocsin", "sasl_password_file": "password", "ssl_ca_file": "OTHER"},
        r"not vouched for by .*other.pem \(.*\): set TOCSIN_SSL_CA_FILE",
    ),
    "no CA": (
        {"sasl_username": "tocsin", "sasl_password_file": "password", "ssl_ca_file": None},
        r"not vouched for by the system's CAs",
    ),
    "name": (
        {"sasl_username": "tocsin", "sasl_password_file": "password", "bootstrap": "LOCALHOST"},
        r"TOCSIN_BOOTSTRAP to a name that it holds",
    ),
    "no TLS": (
        {"security_protocol": "PLAINTEXT", "ssl_ca_file": None},
        r"closed the connection .*TOCSIN_SECURITY_PROTOCOL is PLAINTEXT",
    ),
    "no listener of TLS": (
        {"security_protocol": "SSL", "bootstrap": "BARE"},
        r"closed the connection .*TOCSIN_SECURITY_PROTOCOL is SSL",
    ),
    "no certificate": ({"security_protocol": "SSL", "bootstrap": "CERTIFICATES"}, r"TOCSIN_SSL_CERTIFICATE_FILE"),
    "no password": ({"sasl_username": "tocsin"}, r"SCRAM-SHA-512 wants a user and one password"),
    "no file": (
        {"sasl_username": "a", "sasl_password_file": Path("/not/there")},
        r"secret cannot be read .*/not/there",
    ),
    "no PEM": (
        {"sasl_username": "a", "sasl_password_file": "password", "ssl_ca_file": "password"},
        r"TOCSIN_SSL_CA_FILE cannot be used .*expected PEM",
    ),
}


@pytest.mark.parametrize(("given", "sentence"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_ends_the_start_with_one_sentence_that_says_which(
    secure: SecureBroker, written: dict[str, Path], tmp_path: Path, given: dict[str, object], sentence: str
) -> None:
    other = Authority(tmp_path / "pki", "other").ca
    places = {
        "OTHER": other,
        "LOCALHOST": secure.passwords.replace("127.0.0.1", "localhost"),
        "BARE": secure.bootstrap,
        "CERTIFICATES": secure.certificates,
        **written,
    }
    found = {name: places.get(value, value) if isinstance(value, str) else value for name, value in given.items()}
    with pytest.raises(StartupError, match=sentence) as raised:
        await kafka.partition_counts(secured(secure, **found))
    assert "\n" not in str(raised.value)


async def test_a_secret_that_is_replaced_is_used_from_the_next_connection_on(
    secure: SecureBroker, written: dict[str, Path]
) -> None:
    settings = secured(secure, sasl_username="tocsin", sasl_password_file=written["wrong"])
    producer = AIOKafkaProducer(**kafka.client_options(settings))
    with pytest.raises(StartupError, match="refuses user 'tocsin'"):
        await kafka.start(producer, settings)
    written["wrong"].write_text(PASSWORDS["tocsin"] + "\n")
    await kafka.start(producer, settings)
    await producer.stop()


async def test_a_role_may_do_what_it_needs_and_no_more(secure: SecureBroker, written: dict[str, Path]) -> None:
    settings = secured(secure, sasl_username="tocsin", sasl_password_file=written["password"])
    async with AIOKafkaProducer(**kafka.client_options(settings), acks="all", enable_idempotence=True) as producer:
        await producer.send_and_wait(PREFIX + "scores", b"{}", partition=0)
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(PREFIX + "news", b"{}", partition=0)
    stranger = secured(secure, sasl_username="stranger", sasl_password=PASSWORDS["stranger"])
    assert await kafka.partition_counts(stranger) == {}
    assert "run `tocsin topics create`" in (await kafka.check_topics(stranger, ["alerts"]))[0]


@pytest.mark.slow
def test_a_worker_runs_with_the_rights_of_its_role_alone(
    secure: SecureBroker, written: dict[str, Path], tmp_path: Path
) -> None:
    settings = secured(
        secure, sasl_username="tocsin", sasl_password_file=written["password"], clock="data", ladder_down_s=0.0
    )
    plain = Settings(bootstrap=secure.bootstrap, prefix=PREFIX, group=settings.group, partitions=2)
    messages = [message for message in day() if message.topic in ("frames", "news")][:400]
    with Feed(plain, messages) as feed:
        feed.finish()
    watch = Watch(plain)
    with Worker(settings, tmp_path) as worker:
        until(lambda: watch.acknowledged() == len(messages), 120, "all is read", [worker])
        assert worker.drain() == 0
        # Again, from its checkpoints.
        worker.start()
        until(lambda: worker.get("/readyz")[0] == 200, 120, "ready", [worker])
        assert worker.drain() == 0
    assert asyncio.run(messages_of(plain, "scores"))
    assert asyncio.run(messages_of(plain, "deadletters")) == []
