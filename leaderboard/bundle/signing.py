"""The signature of a bundle: the last line of its card, over all other bytes of the bundle but the predictions.

So a card that was signed stands beside the counts it was signed with, and no one else can correct its entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ovsbench.benchmark.errors import DataError, UserError
from ovsbench.benchmark.storage import files
from ovsbench.leaderboard import signature
from ovsbench.leaderboard.bundle.card import CARD, Card

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def signed_card(contents: Mapping[str, bytes], card: Card, key: Ed25519PrivateKey) -> bytes:
    """The bytes of a card with the author's key and a signature behind it.

    Args:
        contents: the bytes of the bundle's files by name, without predictions.
        card: what its card says.
        key: of the author.

    Raises:
        UserError: it is signed already.
    """
    if card.author_key or card.signature:
        raise UserError(f"the card {card.name} has an author_key or a signature. Remove those lines; --key writes them")
    text = contents[CARD].rstrip() + f'\nauthor_key = "{signature.public_key(key)}"\n'.encode()
    return text + f'signature = "{signature.sign(_message(contents, text), key, "bundle")}"\n'.encode()


def check_signature(contents: Mapping[str, bytes], card: Card, where: str) -> None:
    """Looks whether a bundle is as its author signed it; one without a signature is nobody's.

    Raises:
        DataError: the signature is not that of these files.
    """
    if not card.author_key and not card.signature:
        return
    line = f'signature = "{card.signature}"\n'.encode()
    text = contents[CARD].removesuffix(line)
    is_last = text != contents[CARD]
    if not is_last or not signature.is_signed(_message(contents, text), card.signature, card.author_key, "bundle"):
        raise DataError(
            f"{where}, {CARD}: its signature is not that of author_key over these files. Sign the bundle with "
            "ovsbench submit --key, or leave both lines out"
        )


def _message(contents: Mapping[str, bytes], card: bytes) -> bytes:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in {**contents, CARD: card}.items()}
    return files.json_digest(digests).encode()
