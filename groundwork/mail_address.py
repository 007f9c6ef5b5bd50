"""A mail address in the one form that every mail server takes."""

from __future__ import annotations

from typing import Annotated

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, WithJsonSchema

# A company's own mail server may well have such a name.
for _internal in ("local", "localhost", "test"):
    if _internal in SPECIAL_USE_DOMAIN_NAMES:
        SPECIAL_USE_DOMAIN_NAMES.remove(_internal)


def one_address(text: str) -> str:
    """A mail address: ASCII, the domain as DNS has it.

    Raises:
        ValueError: when the text is not one address; the message says why.
    """
    try:
        found = validate_email(
            text, check_deliverability=False, allow_smtputf8=False, globally_deliverable=False
        )
    except EmailNotValidError as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"is not one mail address: {reason}. Write one address, without a name") from None
    return found.ascii_email or found.normalized


MailAddress = Annotated[
    str,
    AfterValidator(one_address),
    WithJsonSchema({"type": "string", "pattern": r"^[^@\s,;]+@[^@\s,;]+$"}),
]
