"""What of the credentials needs no broker: settings that contradict each other, and secrets that stay secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from monitor import credentials
from monitor.errors import StartupError
from monitor.settings import Settings
from tests.integration.secure import Authority

SASL = {"security_protocol": "SASL_SSL", "sasl_username": "me"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"sasl_username": "me"}, "TOCSIN_SASL_USERNAME is given, and TOCSIN_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"ssl_ca_file": Path("ca.pem")}, "TOCSIN_SSL_CA_FILE is given, and TOCSIN_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"security_protocol": "SSL", "sasl_password": "x"}, "set that to SASL_SSL"),
        ({"security_protocol": "SSL", "ssl_key_file": Path("key.pem")}, "set TOCSIN_SSL_CERTIFICATE_FILE"),
        (SASL, "SCRAM-SHA-512 wants a user and one password"),
        (SASL | {"sasl_password": "x", "sasl_password_file": Path("y")}, "wants a user and one password"),
        (SASL | {"sasl_token_file": Path("token")}, "set that to OAUTHBEARER"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}, "OAUTHBEARER wants a token"),
        (
            {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER", "sasl_token_url": "http://127.0.0.1"},
            "OAUTHBEARER wants a user and one password",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_told_in_a_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(StartupError, match=sentence):
        credentials.options(Settings(**given))  # type: ignore[arg-type]


def test_without_credentials_a_client_asks_for_none() -> None:
    assert credentials.options(Settings()) == {"security_protocol": "PLAINTEXT"}
    assert credentials.of_faust(Settings()) is None


def test_a_password_is_read_anew_and_its_newline_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("first\r\n")
    settings = Settings(security_protocol="SASL_PLAINTEXT", sasl_username="me", sasl_password_file=path)
    found = credentials.options(settings)
    assert found["sasl_plain_password"] == "first"
    path.write_text(" second ")
    assert credentials._now(found["sasl_plain_password"]) == " second "


def test_a_mounted_secret_that_cannot_be_used_any_more_is_told_until_it_can(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("first")
    mounted = credentials.Mounted(
        Settings(security_protocol="SASL_PLAINTEXT", sasl_username="me", sasl_password_file=path)
    )
    assert mounted.look() == ""
    path.write_bytes(b"\xff\xfe\x00")
    assert mounted.look().startswith(f"A secret cannot be read ({path} is no text: ")
    assert mounted.look() == ""  # told once
    assert str(path) in mounted.told
    path.unlink()
    assert "No such file" in mounted.look()
    path.write_text("\n")
    assert mounted.look().startswith(f"A secret cannot be read ({path} is empty): ")
    path.write_text("second")
    assert (mounted.look(), mounted.told) == ("", "")


def test_a_mounted_authority_that_was_emptied_is_told_until_it_is_there_again(tmp_path: Path) -> None:
    path = Authority(tmp_path, "ca").ca
    pem = path.read_bytes()
    mounted = credentials.Mounted(Settings(security_protocol="SSL", ssl_ca_file=path))
    path.write_bytes(b"")
    assert mounted.look().startswith("TOCSIN_SSL_CA_FILE cannot be used (")
    path.write_bytes(pem)
    assert (mounted.look(), mounted.told) == ("", "")


def test_a_password_is_shown_nowhere() -> None:
    settings = Settings(security_protocol="SASL_SSL", sasl_username="me", sasl_password="hunter2")  # type: ignore[arg-type]
    assert "hunter2" not in repr(settings) + str(settings.model_dump())


@pytest.mark.parametrize(
    "answer", ['{"token": "x"}', '["x"]', "welcome", '{"access_token": "x", "expires_in": "soon"}']
)
async def test_an_endpoint_that_gives_no_token_is_named_with_what_it_was_asked_by(answer: str) -> None:
    async def give(_: web.Request) -> web.Response:
        return web.Response(text=answer)

    site = web.Application()
    site.router.add_post("/", give)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        found = credentials.TokenEndpoint(f"http://127.0.0.1:{runner.addresses[0][1]}/", "me", "hunter2", "")
        with pytest.raises(credentials.TokenError, match=r"^TOCSIN_SASL_TOKEN_URL http.*/ gives no token: ") as error:
            await found.token()
    finally:
        await runner.cleanup()
    assert "hunter2" not in str(error.value)
