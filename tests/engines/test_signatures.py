"""Who vouches for a bundle, and what a key may be."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import msgspec
import pytest

from engines import shipped
from engines.bundle import DEFAULT, MANIFEST, SIGNATURES, Bundle, BundleError
from engines.signatures import SHIPPED, SignatureError, make_key, read_key, read_keys, sign, signer
from engines.training.ship import ship
from tests.engines.bundles import write_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.load(write_bundle(tmp_path / "bundle"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "desk.key")
    return tmp_path / "desk.key"


def test_the_bundle_that_ships_is_the_one_whose_digest_is_in_the_code() -> None:
    assert Bundle.load(DEFAULT).digest == shipped.MANIFEST_SHA256, (
        "bundles/default is another than the code trusts: if it is meant to be, run `make ship` and commit"
        " engines/shipped.py with it"
    )
    assert signer(Bundle.load(DEFAULT), {}) == SHIPPED


def test_the_digest_of_a_bundle_is_written_into_the_code(bundle: Bundle, tmp_path: Path) -> None:
    code = tmp_path / "shipped.py"
    shutil.copy(shipped.__file__, code)
    assert ship(code, bundle.path) == hashlib.sha256((bundle.path / MANIFEST).read_bytes()).hexdigest()
    assert code.read_text() == Path(shipped.__file__).read_text().replace(shipped.MANIFEST_SHA256, bundle.digest)


def test_a_private_key_is_its_owners_and_overwrites_nothing(key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    with pytest.raises(SignatureError, match="is there already"):
        make_key(key)
    with pytest.raises(SignatureError, match="is there already"):
        make_key(key.with_suffix(".pem"))


def test_half_a_file_of_signatures_is_no_harm_and_a_link_is_not_followed(
    bundle: Bundle, key: Path, tmp_path: Path
) -> None:
    others = tmp_path / "others"
    others.write_text("theirs")
    (bundle.path / f".{SIGNATURES}").symlink_to(others)
    whole, beside = Bundle.load(bundle.path), sorted(bundle.path.parent.iterdir())
    name = sign(whole, read_key(key))
    assert signer(whole, read_keys(key.with_suffix(".pem"))) == name
    assert others.read_text() == "theirs"
    assert sorted(bundle.path.parent.iterdir()) == beside
    assert not (bundle.path / f".{SIGNATURES}").exists()


def test_each_key_that_signed_vouches_and_no_other_does(bundle: Bundle, key: Path, tmp_path: Path) -> None:
    _, strange = make_key(tmp_path / "strange.key")
    desk = sign(bundle, read_key(key))
    assert Bundle.load(bundle.path).id == bundle.id
    assert signer(bundle, read_keys(key.with_suffix(".pem"))) == desk
    with pytest.raises(SignatureError, match=f"is signed by {desk}, and trusted is {strange}"):
        signer(bundle, read_keys(tmp_path / "strange.pem"))
    with pytest.raises(SignatureError, match=f"is signed by {desk}, and no key is trusted"):
        signer(bundle, {})
    sign(bundle, read_key(tmp_path / "strange.key"))
    assert signer(bundle, read_keys(tmp_path / "strange.pem")) == strange
    assert len(read_keys(tmp_path)) == 2
    (tmp_path / "both").write_bytes(b"".join(path.read_bytes() for path in sorted(tmp_path.glob("*.pem"))))
    assert signer(bundle, read_keys(tmp_path / "both")) == desk


def test_what_was_changed_after_it_was_signed_is_refused_with_its_digests_made_anew(
    bundle: Bundle, key: Path, tmp_path: Path
) -> None:
    sign(bundle, read_key(key))
    other = Bundle.load(write_bundle(tmp_path / "other", text_json=b"{ }"))
    shutil.copy(bundle.path / SIGNATURES, other.path)
    with pytest.raises(SignatureError, match="its manifest or the signature was changed"):
        signer(other, read_keys(key.with_suffix(".pem")))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no file of signatures"),
        (b'{"signatures": []}', "is no file of signatures"),
        (b'{"signatures": {}}', "bears no signature"),
        (b'{"signatures": {"KEY": "?"}}', "was changed"),
        (b'{"signatures": {"KEY": ""}}', "was changed"),
        ('{"signatures": {"KEY": "é"}}'.encode(), "was changed"),
        (b" " * 65_537, "has more than 65,536 bytes"),
    ],
)
def test_a_file_of_signatures_that_holds_none_is_refused(
    content: bytes, sentence: str, bundle: Bundle, key: Path
) -> None:
    keys = read_keys(key.with_suffix(".pem"))
    (bundle.path / SIGNATURES).write_bytes(content.replace(b"KEY", next(iter(keys)).encode()))
    with pytest.raises(SignatureError, match=sentence):
        signer(bundle, keys)


def test_a_manifest_cannot_list_its_own_signatures(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"text.json"', b'"signatures.json"'))
    with pytest.raises(BundleError, match=r"names 'signatures\.json'"):
        Bundle.load(folder)


def test_what_is_no_key_of_ours_is_a_sentence(key: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="holds no private key"):
        read_key(key.with_suffix(".pem"))
    with pytest.raises(SignatureError, match="holds no public key"):
        read_keys(key)
    with pytest.raises(SignatureError, match="cannot be read"):
        read_keys(tmp_path / "nowhere.pem")
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(SignatureError, match="is damaged"):
        read_keys(damaged)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_makes_keys_and_verifies_what_they_signed(bundle: Bundle, tmp_path: Path) -> None:
    def openssl(*arguments: str | Path) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=tmp_path)

    openssl("genpkey", "-algorithm", "ed25519", "-out", "theirs.key")
    openssl("pkey", "-in", "theirs.key", "-pubout", "-out", "theirs.pem")
    name = sign(bundle, read_key(tmp_path / "theirs.key"))
    told = msgspec.json.decode((bundle.path / SIGNATURES).read_bytes())["signatures"][name]
    (tmp_path / "signature").write_bytes(base64.b64decode(told))
    digest = hashlib.sha256((bundle.path / MANIFEST).read_bytes()).hexdigest()
    (tmp_path / "line").write_text(f"tocsin bundle manifest SHA-256 {digest}{os.linesep}")
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", "theirs.pem", "-rawin", "-in", "line", "-sigfile", "signature")
    openssl("genpkey", "-algorithm", "rsa", "-out", "rsa.key")
    with pytest.raises(SignatureError, match="of another kind: expected Ed25519"):
        read_key(tmp_path / "rsa.key")
