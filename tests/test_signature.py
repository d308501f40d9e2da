"""Signatures of bundles and receipts: keys as files, texts that fit one message, one key and one purpose."""

from __future__ import annotations

import builtins
import stat

import pytest

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.leaderboard import signature


def test_a_signature_fits_one_message_one_key_and_one_purpose(tmp_path):
    key, other = signature.generate_key(tmp_path / "a"), signature.generate_key(tmp_path / "b")
    public, signed = signature.public_key(key), signature.sign(b"one", key, "bundle")
    assert signature.is_signed(b"one", signed, public, "bundle")
    assert not signature.is_signed(b"two", signed, public, "bundle")
    assert not signature.is_signed(b"one", signed, signature.public_key(other), "bundle")
    assert not signature.is_signed(b"one", signed, public, "receipt")
    for strange in ("", signed[:-2], signed.upper(), "g" * 128, signed + "\n"):
        assert not signature.is_signed(b"one", strange, public, "bundle")
    assert not signature.is_signed(b"one", signed, "0" * 63, "bundle")


def test_a_key_is_for_its_owner_alone_reads_back_and_is_never_replaced(tmp_path):
    key = signature.generate_key(tmp_path / "new" / "key.pem")
    path = tmp_path / "new" / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signature.public_key(signature.read_key(path)) == signature.public_key(key)
    with pytest.raises(DataError, match="expected no file where a new key is to be"):
        signature.generate_key(path)


def test_a_key_of_ssh_keygen_is_read(tmp_path):
    from cryptography.hazmat.primitives import serialization as formats

    key = signature.generate_key(tmp_path / "a")
    ssh = key.private_bytes(formats.Encoding.PEM, formats.PrivateFormat.OpenSSH, formats.NoEncryption())
    (tmp_path / "ssh").write_bytes(ssh)
    assert signature.public_key(signature.read_key(tmp_path / "ssh")) == signature.public_key(key)


def foreign_keys() -> dict[str, bytes]:
    from cryptography.hazmat.primitives import serialization as formats
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    locked, plain = formats.BestAvailableEncryption(b"secret"), formats.NoEncryption()
    pem, pkcs8 = formats.Encoding.PEM, formats.PrivateFormat.PKCS8
    return {
        "empty": b"",
        "text": b"no key",
        "curve": ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, pkcs8, plain),
        "locked": ed25519.Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, locked),
    }


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "curve", "locked"])
def test_what_is_no_key_is_one_sentence(tmp_path, kind):
    path = tmp_path / "key"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(foreign_keys()[kind])
    with pytest.raises(DataError, match="expected a private Ed25519 key in PEM without a passphrase"):
        signature.read_key(path)


def test_without_the_package_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="pip install cryptography"):
        signature.generate_key(tmp_path / "key")
    with pytest.raises(UserError, match="pip install cryptography"):
        signature.is_signed(b"", "", "", "bundle")
