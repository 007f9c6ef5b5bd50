"""Key pairs: the token of a login is verified as Snowflake does, with the user's registered public key."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

KEYS: dict[str, tuple[Any, str]] = {}
"""User: public key and its fingerprint, as ``alter user … set rsa_public_key`` would leave them."""


def register(user: str, pem: str) -> None:
    """Let a user sign in with the private half of this key, and with nothing else."""
    key = serialization.load_pem_public_key(Path(pem).read_bytes())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    KEYS[user.upper()] = key, "SHA256:" + base64.b64encode(hashlib.sha256(der).digest()).decode()


def check(login: dict[str, Any]) -> None:
    """Raise unless the token of a login was signed by the user's key, for that user, and is not too old."""
    if login.get("AUTHENTICATOR") != "SNOWFLAKE_JWT":
        raise ValueError("a password, though a key is registered")
    user = login["LOGIN_NAME"].upper()
    key, fingerprint = KEYS[user]
    head, body, signature = login["TOKEN"].split(".")
    claims = json.loads(_decoded(body))
    account = claims["sub"].rpartition(".")[0]
    if json.loads(_decoded(head))["alg"] != "RS256":
        raise ValueError("another algorithm")
    if claims["sub"] != f"{account}.{user}" or claims["iss"] != f"{account}.{user}.{fingerprint}":
        raise ValueError("another issuer or subject")
    if not claims["iat"] - 60 <= time.time() <= claims["exp"]:
        raise ValueError("expired")
    key.verify(_decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
