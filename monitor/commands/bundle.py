"""`tocsin bundle`: who vouches for a folder of models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from monitor.commands.options import SigningKey
from monitor.errors import StartupError
from monitor.settings import load

app = typer.Typer(
    help="Keys, and what they sign: a daemon serves the bundle that ships, and those that a key which it trusts"
    " (TOCSIN_BUNDLE_TRUST) has signed.",
    no_args_is_help=True,
)
Folder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")]


@app.command()
def keygen(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="File of the private key; the public one is KEY's .pem.")],
) -> None:
    """Make a pair of keys (Ed25519): the private one stays with who signs, the public one goes to all who serve.

    Example: `tocsin bundle keygen release.key`
    """
    from engines.signatures import SignatureError, make_key

    try:
        public, name = make_key(key)
    except SignatureError as error:
        raise StartupError(f"{error}.") from error
    typer.echo(f"{key} is the private key {name}: keep it where models are made, as TOCSIN_BUNDLE_KEY_FILE")
    typer.echo(f"{public} is its public key: name it to all who serve, as TOCSIN_BUNDLE_TRUST")


@app.command()
def sign(bundle: Folder, key: SigningKey = None) -> None:
    """Sign a bundle: a line of `signatures.json`, beside those of other keys. The bundle's id stays what it is.

    Example: `tocsin bundle sign bundles/2026-12 --key release.key`
    """
    from monitor.trust import signed

    typer.echo(f"{bundle} is signed by {signed(bundle, load(bundle_key_file=key))}")


@app.command()
def verify(
    bundle: Folder,
    trust: Annotated[
        Path | None, typer.Option(help="Public keys, PEM, a file or a folder [TOCSIN_BUNDLE_TRUST]", show_default=False)
    ] = None,
) -> None:
    """Check every digest of a bundle and say who vouches for it; exit code 2 where nobody does who is trusted.

    Example: `tocsin bundle verify bundles/2026-12 --trust release.pem`
    """
    from engines.bundle import Bundle, BundleError
    from monitor.trust import vouched

    try:
        loaded = Bundle.load(bundle)
    except (BundleError, OSError) as error:
        raise StartupError(f"{error}.") from error
    by = vouched(loaded, load(bundle_trust=trust, allow_unsigned=False))
    typer.echo(f"{bundle}: bundle {loaded.id}, {len(loaded.manifest.files)} files, vouched for by {by}")
