from __future__ import annotations

from typer.testing import CliRunner

from monitor.acls import ROLES, acls, commands
from monitor.app import TOPICS
from monitor.cli import app
from monitor.settings import Settings

SETTINGS = Settings(prefix="t.", group="g")


def may(role: str, operation: str) -> set[str]:
    found = [acl for acl in acls(SETTINGS, role) if acl.operation == operation and acl.resource == "topic"]  # type: ignore[arg-type]
    return {acl.name.removeprefix("t.") for acl in found}


def test_a_worker_may_use_the_topics_of_the_daemon_and_no_others() -> None:
    assert may("worker", "Read") | may("worker", "Write") == set(TOPICS)


def test_nobody_but_an_officer_writes_rules_and_nobody_but_a_worker_alerts() -> None:
    assert [role for role in ROLES if "control" in may(role, "Write")] == ["officer"]
    assert [role for role in ROLES if "alerts" in may(role, "Write")] == ["worker"]


def test_no_right_is_named_twice() -> None:
    for role in ROLES:
        found = acls(SETTINGS, role)
        assert len(found) == len(set(found))


def test_rights_are_printed_as_calls_of_kafkas_own_tool() -> None:
    assert (
        "kafka-acls.sh --bootstrap-server 127.0.0.1:9092 --command-config admin.properties --add"
        " --allow-principal User:x --operation Read --operation Write --topic t.control"
    ) in commands(SETTINGS, "officer", "User:x")
    told = CliRunner().invoke(app, ["topics", "acls", "gateway", "--prefix", "t.", "--group", "g"])
    assert told.output.count("--add") == 6
    assert "--group g-gateway" in told.output
    assert "User:tocsin-gateway" in told.output
    wrong = CliRunner().invoke(app, ["topics", "acls", "worker", "chief"])
    assert "kafka-acls.sh" not in wrong.stdout  # which is for a shell
    assert "No role is called chief" in wrong.output + wrong.stderr
