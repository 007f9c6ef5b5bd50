"""Masking of what leaves the house in a mail: no secret, and no value of a row.

Our own messages hold neither (`groundwork.errors`). Those of databases, libraries and users' code may, so
what has the form of a secret or of personal data is masked, and so is every secret whose value is known.
Each pattern reads a text at most a few times, whatever the text is: possessive quantifiers, and a start only
where a run of characters begins. Why the patterns are our own: docs/decisions/0058-masking.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

MASK = "…"
LEAST_SECRET = 5
"""A known secret shorter than this is not looked for: it would be found in ordinary words."""

_SECRET_WORD = (
    r"pass(?:word|wd|phrase|code)|pwd|token|secret|credentials?|authorization|"
    r"(?:api|access|account|auth|encryption|master|private|secret|shared|signing)[_-]?key"
)
# A name ends in such a word: `DB_PASSWORD`, `clientSecret`. `token_count`, `secret_name` and `tokens` do not.
_NAME = rf"(?:{_SECRET_WORD})\d{{0,3}}"
_QUOTE = r"\\{0,3}[\"'`]"
_VALUE = (
    rf"(?:[A-Za-z_]{{1,20}}\()?[A-Za-z]{{0,2}}(?P<quote>{_QUOTE})"  # also b'…' and SecretStr('…')
    r"(?:(?!(?P=quote))(?:\\.|[^\\\n]))*+(?:(?P=quote))?"
    r"|(?:(?:bearer|basic|digest|token)\s+)?[^\s,;&]++"
)
_ASSIGNED = re.compile(
    rf"(?i)(?P<before>{_NAME}(?:{_QUOTE})?\s{{0,8}}(?:=>|[=:]|%3D|>(?=\S))\s{{0,8}})(?:{_VALUE})"
    rf"|(?P<flag>(?<!\S)--?[\w-]{{0,60}}?(?:{_SECRET_WORD})\s{{1,8}})[^\s-]\S*+"
    r"|(?P<signature>(?:signature|\bsig)(?:=|%3D))[^\s,;&\"']++"
    r"|(?P<cookie>\b(?:set-)?cookie:\s{0,8})[^\n]++"
)

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:(?!-----END)[\s\S])*+"
    r"(?:-----END [A-Z0-9 ]{0,60}-----)?"
)
_PEM_LINE = re.compile(r"(?m)^(?=[^A-Z\n]*[A-Z])(?=[^a-z\n]*[a-z])(?=[^0-9\n]*[0-9])[A-Za-z0-9+/]{60,76}$")
"""A line of a key whose first line stands in another record of the log."""

_KNOWN_FORMS = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"gh[pousr]_[A-Za-z0-9]{16,}+|github_pat_\w{16,}+|gl[a-z]{2,8}-[\w-]{16,}+"  # GitHub, GitLab
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,}+|whsec_[A-Za-z0-9+/=]{16,}+"  # Stripe
    r"|xox[a-z]-[A-Za-z0-9-]{10,}+|xapp-[A-Za-z0-9-]{10,}+"  # Slack
    r"|(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA|ANVA)[A-Z0-9]{12,}+"  # AWS
    r"|AIza[\w-]{30,}+|ya29\.[\w.-]{16,}+|GOCSPX-[\w-]{16,}+"  # Google
    r"|sk-(?=[\w-]*\d)[\w-]{20,}+|SG\.[\w-]{16,}+\.[\w-]{16,}+|key-[0-9a-f]{32}"  # OpenAI, SendGrid …
    r"|npm_[A-Za-z0-9]{30,}+|pypi-[\w-]{40,}+|pn[ub]_[A-Za-z0-9]{20,}+|dbt[uc]_[\w=-]{20,}+"  # PyPI, Prefect
    r"|dapi[0-9a-f]{32}|do[opr]_v1_[0-9a-f]{32,}+|shp[a-z]{2}_[0-9a-fA-F]{32}|hv[sbr]\.[\w-]{20,}+"
    r"|SK[0-9a-f]{32}|\d{8,10}:[\w-]{35}(?![\w-])|ATATT3[\w=-]{20,}+|lin_api_[A-Za-z0-9]{20,}+"
    r"|eyJ[\w-]{8,}+\.[\w-]++(?:\.[\w-]*+)?"  # a JWT
    r")"
    r"|(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/\S++"
)
_SCHEME = re.compile(
    r"\b((?i:bearer|basic))\s{1,8}(?![A-Za-z]?[a-z]*+(?![\w.~+/=-]*[\w~+/=-]))[A-Za-z0-9._~+/=-]{8,}+"
)
_MAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@(?:[A-Za-z0-9-]++\.)+[A-Za-z]{2,}+")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_TELEPHONE = re.compile(r"(?<![\w.-])\+\d[\d ()/-]{7,20}\d\b")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w.-])")

_ABOUT_VALUES = re.compile(
    r"(?i)conver|cast|constraint|duplicate|violat|invalid (?:input|literal)|not recognized|parse"
)
_VALUES = [
    (re.compile(r"'[^']*+'"), "'…'"),
    (re.compile(r"(?i)(key \")[^\"]*+\""), r'\1…"'),
    (re.compile(r"(\)=\()[^\n]*\)"), r"\1…)"),
    (re.compile(r"(?i)(Failing row contains )\([^\n]*+"), r"\1(…)"),
]


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without passwords, and without the values that databases quote in errors.

    Args:
        text: what is to be sent.
        secrets: values that must not be in it, whatever they look like.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= LEAST_SECRET:
            text = text.replace(secret, MASK)
    text = _PEM_LINE.sub(MASK, _PEM.sub(MASK, text))
    text = re.sub(r"\S++", _without_login, text)
    text = _ASSIGNED.sub(_without_value, text)
    text = _KNOWN_FORMS.sub(MASK, text)
    text = _SCHEME.sub(rf"\1 {MASK}", text)
    text = _MAIL.sub(f"{MASK}@{MASK}", text)
    text = _IBAN.sub(_if(_is_iban), text)
    text = _TELEPHONE.sub(MASK, text)
    text = _CARD.sub(_if(_is_card), text)
    if _ABOUT_VALUES.search(text):
        for pattern, instead in _VALUES:
            text = pattern.sub(instead, text)
    return text


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """The values of the environment variables whose names say that they are secrets.

    Args:
        environment: e.g. `os.environ`; a password within an address counts too.
    """
    ends = re.compile(rf"(?i)(?:{_SECRET_WORD}|auth_string)\d{{0,3}}$")
    found = [value for name, value in environment.items() if ends.search(name)]
    return [*found, *(part.partition(":")[2] for part in found if "://" not in part and ":" in part)]


def folded(line: str, rows: int = 4) -> str:
    """A log line without the middle of its traceback: how it begins, and the error it ends with."""
    parts = line.rstrip().splitlines()
    if len(parts) <= rows:
        return line
    return "\n".join([parts[0], f"    … {len(parts) - 2} lines, see the run …", f"    {parts[-1]}"])


def _without_login(word: re.Match[str]) -> str:
    """An address without the password in it, also when the address was cut before its host."""
    head, *addresses = word[0].split("://")
    return "://".join([head, *map(_without_password, addresses)])


def _without_password(address: str) -> str:
    login, at, host = address.rpartition("@")
    if at:
        user, colon, _ = login.partition(":")
        if colon:
            return f"{user}:{MASK}@{host}"
        return address if "/" in login else f"{MASK}@{host}"
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    user, colon, rest = authority.partition(":")
    if colon and not rest[:1].isdigit() and rest[:1] not in ("", *"),;'\"]}>") and user[:1] != "[":
        return f"{user}:{MASK}"
    return address


def _without_value(found: re.Match[str]) -> str:
    kept = found["before"] or found["flag"] or found["signature"] or found["cookie"]
    quote = found["quote"] or ""
    return f"{kept}{quote}{MASK}{quote}"


def _if(test: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    return lambda found: MASK if test(found[0]) else found[0]


def _is_card(text: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1, Luhn): most long numbers are no card."""
    digits = [int(one) for one in text if one.isdigit()][::-1]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    """Whether the check digits are right (ISO 13616), with or without words that follow."""
    groups = text.split(" ")
    for count in range(len(groups), 0, -1):
        compact = "".join(groups[:count])
        if (
            len(compact) >= 15
            and int("".join(str(int(one, 36)) for one in compact[4:] + compact[:4])) % 97 == 1
        ):
            return True
    return False
