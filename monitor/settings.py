"""The one settings object: read once, at the start, from the environment (``TOCSIN_*``) and the command line."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

from engines import yaml_text
from monitor.errors import StartupError

#: A broker's address: a name or number, an IPv6 address in brackets; without a port Kafka's own is meant.
_SERVER = r"(\[[0-9a-fA-F:]+\]|[^\s,:\[\]]+)(:[0-9]{1,5})?"
SERVERS = rf"^{_SERVER}(,{_SERVER})*$"


def _cache() -> Path:
    """Return the user's folder of what can be made again, as XDG's Base Directory Specification has it."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given if os.path.isabs(given) else os.path.expanduser("~/.cache")) / "tocsin"


class Settings(BaseSettings):
    """How Tocsin runs. Every field is an environment variable: ``TOCSIN_BOOTSTRAP``, ``TOCSIN_PREFIX``, …"""

    model_config = SettingsConfigDict(env_prefix="TOCSIN_", frozen=True, extra="ignore", allow_inf_nan=False)

    bootstrap: str = Field("127.0.0.1:9092", min_length=1, description="Kafka's bootstrap servers, HOST:PORT,…")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="What the broker's listener speaks; SSL with a certificate of ours is mTLS."
    )
    sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="How SASL_PLAINTEXT and SASL_SSL prove who we are."
    )
    sasl_username: str = Field("", description="User of SCRAM and PLAIN, client id of a token's endpoint.")
    sasl_password: SecretStr | None = Field(None, description="Its password, or client secret; a file is better.")
    sasl_password_file: Path | None = Field(None, description="File that holds it, read anew at every connection.")
    sasl_token_file: Path | None = Field(
        None, description="File of OAUTHBEARER's token, such as a projected service account's, read anew likewise."
    )
    sasl_token_url: str = Field("", description="Endpoint that gives OAUTHBEARER's tokens for client credentials.")
    sasl_scope: str = Field("", description="Scope that is asked for there.")
    ssl_ca_file: Path | None = Field(None, description="CAs of the brokers' certificates, PEM; default: the system's.")
    ssl_certificate_file: Path | None = Field(None, description="Our certificate, PEM, for listeners that want one.")
    ssl_key_file: Path | None = Field(None, description="Its key, PEM; default: it stands in the certificate's file.")
    prefix: str = Field("tocsin.", description="Prefix of every topic's name.")
    group: str = Field("tocsin", min_length=1, description="Consumer group and application id.")
    partitions: int = Field(8, ge=1, le=1024, description="Partitions of the keyed topics, when they are created.")
    replication: int = Field(1, ge=1, description="Copies of each partition, when topics are created.")
    retention: str = Field(
        "",
        description="How long topics keep messages that shall not keep them as `tocsin topics list` says, such as"
        " orders=2d,transfers=7d.",
    )

    http_host: str = Field("127.0.0.1", description="Where /livez, /readyz and /metrics are served.")
    http_port: int = Field(8321, ge=0, le=65535, description="0: a free port; default of the gateway: 8322.")
    worker_name: str = Field("", description="Stable name of this worker; default: host name and process id.")

    bundle: Path | None = Field(
        None,
        description="Folder of the model bundle, or a link to one, read anew at SIGHUP; default: the one that ships.",
    )
    bundle_trust: Path | None = Field(
        None,
        description="Public keys of those whose bundles may serve, PEM: a file, or a folder of *.pem (`tocsin bundle`);"
        " default: none, and only the bundle that ships may.",
    )
    allow_unsigned: bool = Field(False, description="Whether bundles may serve that no trusted key has signed.")
    bundle_key_file: Path | None = Field(
        None, description="Private key, PEM, by which `tocsin train bundle` and `tocsin retrain` sign what they make."
    )
    registry: str | None = Field(
        None,
        description="Folder of models, or its URL (s3://bucket/models): the worker serves which of them is promoted"
        " (`tocsin models`); default: none, and it serves TOCSIN_BUNDLE.",
    )
    shadow: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_-]*$",
        description="Name of a model of TOCSIN_REGISTRY that this worker runs in the champion's shadow, to topics"
        " PREFIXshadow.NAME.* and in a group of its own (`tocsin models shadow`); default: none.",
    )
    precision: Literal["fp32", "fp16", "bf16", "int8"] = Field(
        "fp32", description="What encoders compute in, where a back end can and passes the parity gate; else fp32."
    )
    labels: Path | None = Field(
        None,
        description="Folder of labels of texts that `tocsin labels add` made, each a typology, read anew at SIGHUP;"
        " default: none.",
    )
    pump: Path | None = Field(
        None,
        description="File of thresholds of pump_and_dump that `tocsin train pump_trades` made; default: the shipped.",
    )
    rules: Path | None = Field(
        None,
        description="Rule file in YAML (`tocsin rules`) in effect until others are published; default: none.",
    )
    accounts: Path | None = Field(
        None,
        description="Accounts, CSV of account, name and, where known, country and last_active (a date); default: none.",
    )
    sanctions: Path | None = Field(
        None, description="Sanctions list, CSV of name and aliases (separated by semicolons); default: none."
    )
    symbols: Path | None = Field(None, description="Symbol master, CSV or YAML; default: the one that ships.")

    deadletter_key_file: Path | None = Field(
        None,
        description="Keys of 32 bytes in base64, one a line: dead letters are encrypted by the first, opened by any;"
        " default: they are not encrypted.",
    )
    pseudonym_keys_file: Path | None = Field(
        None,
        description="Keys by which accounts are named before anything is kept of them, a line each, looked at again"
        " every few seconds; default: accounts stay as feeds name them. docs/security.md has the file's form.",
    )
    cache: Path = Field(
        default_factory=_cache, description="Folder of what can be made again: plans that were compiled."
    )

    clock: Literal["wall", "data"] = Field(
        "wall", description="What moves time on where inputs are idle; `data` is for streams played from the past."
    )
    bar_s: int = Field(
        5,
        ge=1,
        le=604_800,
        description="Width of bars; 86400 for daily data, with grace_ms 0. They begin at its multiples since 1970, UTC."
        " Trailing rates remember at least 256 of them, and a signal's period is at least one; the windows of a pump"
        " and the times that episodes are held stay what they are.",
    )
    grace_ms: int = Field(
        5_000, ge=0, validate_default=True, description="Lateness that bars allow: up to six whole bars of bar_s."
    )
    idle_grace_ms: int = Field(5_000, ge=0, description="More lateness, where a window is closed by the clock.")
    forget_days: int = Field(
        30, ge=0, le=36_500, description="Days after which an instrument that nothing came for is forgotten; 0: never."
    )
    review_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of hours below a threshold that is sent to be looked at, to learn what never rings: of each"
        " instrument, typology and account up to this, by score; 0: none.",
    )
    reviews_a_day: int = Field(4, ge=1, description="Most that are sent of an instrument on a day.")
    drift_run_time: float = Field(
        20_000.0,
        ge=300,
        description="Expected number of minutes in which an instrument trades (and of texts on it) between two drift"
        " signals of its streams where nothing changes.",
    )
    session_timeout_ms: int = Field(6_000, ge=1_000, description="Kafka's session timeout of a worker.")
    checkpoint_interval_s: float = Field(5.0, gt=0, description="How often state is written and messages acknowledged.")
    drain_timeout_s: float = Field(20.0, gt=0, description="How long a worker may take to stop.")
    overtake_ms: int = Field(250, ge=0, description="How far others may run ahead of a text that is being encoded.")
    ladder_down_s: float = Field(10.0, ge=0, description="How long messages may wait before a step down; 0: never.")

    frame_ticks: int = Field(500, ge=1, le=10_000, description="Ticks at which the gateway closes a frame.")
    frame_ms: float = Field(20.0, gt=0, description="Greatest age of an open frame; 1 s in a backlog.")

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "console"] = Field("json", description="JSON lines, or text for a person.")

    @property
    def own_prefix(self) -> str:
        """Prefix of the topics that this worker alone writes: a shadow's are its own."""
        return f"{self.prefix}shadow.{self.shadow}." if self.shadow else self.prefix

    @property
    def own_group(self) -> str:
        """Consumer group of this worker: a shadow's is its own."""
        return f"{self.group}.shadow.{self.shadow}" if self.shadow else self.group

    @field_validator("bootstrap")
    @classmethod
    def _servers(cls, bootstrap: str) -> str:
        if not re.fullmatch(SERVERS, bootstrap):
            raise PydanticCustomError("servers", "Input should be HOST:PORT, several by commas without blanks")
        return bootstrap

    @field_validator("grace_ms")
    @classmethod
    def _whole_bars(cls, grace_ms: int, info: ValidationInfo) -> int:
        """Refuse what `engines.windows.BarSpec` would."""
        from engines.windows import GRACE_BARS

        bar_ms = info.data.get("bar_s", 5) * 1_000
        if grace_ms % bar_ms:
            told = "Input should be a multiple of {bar_ms}, the width of bars (bar_s)"
            raise PydanticCustomError("multiple_of", told, {"bar_ms": bar_ms})
        if grace_ms > GRACE_BARS * bar_ms:
            told = "Input should be less than or equal to {most_ms}, {bars} bars (bar_s)"
            most = {"most_ms": GRACE_BARS * bar_ms, "bars": GRACE_BARS}
            raise PydanticCustomError("less_than_equal", told, most)
        return grace_ms


def load(config: Path | None = None, /, **overrides: object) -> Settings:
    """Return the settings of the environment, overridden by a file's, then by the command line's (None: not given).

    Raises
    ------
    StartupError
        A value is not one that the setting can have; the sentence names the variable, or the file and the setting.
    """
    of_file = {} if config is None else read_config(config)
    given = of_file | {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = "; ".join(
            f"{_where(str(e['loc'][0]), config, of_file)} is {e['input']!r}: {e['msg'][0].lower()}{e['msg'][1:]}"
            for e in error.errors()
        )
        raise StartupError(f"{wrong}. `tocsin check-config` lists the settings and what they may be.") from error


def _where(name: str, config: Path | None, of_file: Mapping[str, object]) -> str:
    return f"{name} in {config}" if name in of_file else f"TOCSIN_{name.upper()}"


def read_config(path: Path) -> dict[str, object]:
    """Return the settings of a TOML or YAML file: names as `Settings` has them, such as ``grace_ms = 10000``.

    Paths in it are relative to the file.

    Raises
    ------
    StartupError
        It cannot be read, holds no table, or a name is no setting.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = yaml_text.load(text) if path.suffix in (".yaml", ".yml") else tomllib.loads(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, tomllib.TOMLDecodeError) as error:
        told = str(error).replace("\n", " ")
        raise StartupError(f"{path} cannot be read ({told}): expected settings in TOML, or YAML (.yaml).") from error
    if not isinstance(found, dict):
        raise StartupError(
            f"{path} holds no settings: expected lines such as `grace_ms = 10000`, or in YAML with a colon."
        )
    values: dict[str, object] = {}
    for name, value in found.items():
        field = Settings.model_fields.get(str(name))
        if field is None:
            close = difflib.get_close_matches(str(name), Settings.model_fields, n=1)
            hint = f"{close[0]} is meant?" if close else "`tocsin check-config` lists them, there with TOCSIN_ before."
            raise StartupError(f"{name} in {path} is no setting: {hint}")
        of_path = field.annotation in (Path, Path | None) and isinstance(value, str)
        values[str(name)] = path.parent / str(value) if of_path else value
    return values


def stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes where a file is replaced; zeros where there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size
