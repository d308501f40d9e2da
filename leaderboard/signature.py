"""Ed25519 signatures: who made a bundle, and which server gave a receipt. Keys are files, all else is hexadecimal text.

A key file holds the private key as PEM (PKCS 8), as `openssl genpkey -algorithm ed25519` writes it, or as ssh-keygen
does; without a passphrase, readable by its owner alone. A signature is over a purpose and a message, so that what was
signed as one thing can't be shown as another.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.storage import files
from ovsbench.benchmark.storage.text_files import read_whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Purpose = Literal["bundle", "receipt", "log"]
PUBLIC_KEY = re.compile(r"[0-9a-f]{64}")
SIGNATURE = re.compile(r"[0-9a-f]{128}")
MOST_BYTES = 16 << 10
"""Of a key file."""


@contextlib.contextmanager
def _cryptography() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise UserError(
            "signatures need the package cryptography, which is not installed. Run: pip install cryptography"
        ) from None


def generate_key(path: Path) -> Ed25519PrivateKey:
    """Makes a private key and writes it to a file that is not there yet, for its owner alone.

    Raises:
        DataError: the file is there, or cannot be written.
    """
    with _cryptography():
        from cryptography.hazmat.primitives import serialization as formats
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(formats.Encoding.PEM, formats.PrivateFormat.PKCS8, formats.NoEncryption())
    if path.exists():
        raise DataError(f"{path}: expected no file where a new key is to be, found one. Name another")
    with files.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    return key


def read_key(path: Path) -> Ed25519PrivateKey:
    """The private key of a file.

    Raises:
        DataError: it is missing, is no Ed25519 key, or needs a passphrase.
    """
    with _cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization as formats
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    try:
        content = read_whole(path, MOST_BYTES)
        is_ssh = b"OPENSSH PRIVATE KEY" in content
        key = (formats.load_ssh_private_key if is_ssh else formats.load_pem_private_key)(content, None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError("it is a key of another kind")
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it needs a passphrase
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise DataError(
            f"{path}: expected a private Ed25519 key in PEM without a passphrase, got an error: {reason}. "
            "Name the key that signed before, or a file that is not there yet, which gets a new one"
        ) from error
    return key


def public_key(key: Ed25519PrivateKey) -> str:
    """What others know of a key: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def sign(message: bytes, key: Ed25519PrivateKey, purpose: Purpose) -> str:
    """The signature of a message: 128 hexadecimal digits, always the same of the same message and key."""
    return key.sign(_signed(message, purpose)).hex()


def is_signed(message: bytes, signature: str, public: str, purpose: Purpose) -> bool:
    """Whether a signature of a message was made for this purpose with the private key of a public one."""
    with _cryptography():
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    if not PUBLIC_KEY.fullmatch(public) or not SIGNATURE.fullmatch(signature):
        return False
    try:
        known = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        known.verify(bytes.fromhex(signature), _signed(message, purpose))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(message: bytes, purpose: Purpose) -> bytes:
    return f"ovsbench {purpose}\n".encode() + message
