"""Escaping of names and texts, one function for each target that is written as text.

A name is data: a column may be called ``no``, ``{{ env_var('TOKEN') }}`` or ``a"b``. Code that writes a name
into a file, a statement or a header calls the function of that target. SQL has one for each dialect: `quoted`
in `groundwork.sources.wire`, `groundwork.warehouses.duckdb_text` and `groundwork.warehouses.snowflake_sql`,
and the macros `column_name` and `literal` of dbt. HTML has `html.escape`. Only names of sources and streams
become names of files, and the catalog allows lower-case letters, digits and ``_`` there.
"""

from __future__ import annotations

import re

_JINJA = re.compile(r"\{[{%#]|[\r\n]|^\s*(env_var|ref|var|source|doc)\s*\(", re.MULTILINE)
"""What dbt evaluates in a YAML value: delimiters, and in arguments of tests a call without any. Jinja also
drops a newline at the end and changes those within."""


def yaml_string(text: str) -> str:
    """A text as YAML, in double quotes; whatever is not printable is an escape.

    >>> yaml_string('no')
    '"no"'
    """
    return '"' + "".join(_yaml_letter(letter) for letter in text) + '"'


def _yaml_letter(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return letter if letter.isprintable() else _escape(letter)


def jinja_string(text: str) -> str:
    r"""A text as a literal within a Jinja expression; it holds no delimiter of Jinja.

    >>> jinja_string("{{ it's }}")
    "'\\x7b\\x7b it\\x27s \\x7d\\x7d'"
    """
    return "'" + "".join(_jinja_letter(letter) for letter in text) + "'"


def _jinja_letter(letter: str) -> str:
    if letter == "\\":
        return "\\\\"
    return letter if letter.isprintable() and letter not in "'{}" else _escape(letter)


def dbt_string(text: str) -> str:
    """A YAML string that means the text itself, also after dbt rendered it once as Jinja."""
    return yaml_string(f"{{{{ {jinja_string(text)} }}}}" if _JINJA.search(text) else text)


def one_line(text: str) -> str:
    r"""A text within one line of a message, a log or a comment: whatever is not printable is an escape.

    >>> one_line("a\nb")
    'a\\x0ab'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def yaml_comment(text: str) -> str:
    """A text within one line of a YAML comment."""
    return one_line(text)


def sql_comment(text: str) -> str:
    """A whole line of SQL that is a comment; PostgreSQL ends one at a carriage return too."""
    return f"-- {one_line(text)}"


def markdown_text(text: str) -> str:
    r"""A text within one line or cell of Markdown: no markup, no HTML, no line break.

    >>> markdown_text("a|b <i>")
    'a\\|b \\<i\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~&$])", r"\\\1", one_line(text))


def slack_text(text: str) -> str:
    """A text as Slack shows it: no link, no mention, no end of a block of code (Slack, "Formatting text").

    >>> slack_text("<!channel> ```")
    '&lt;!channel&gt; \u200b`\u200b`\u200b`'
    """
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("```", "\u200b`\u200b`\u200b`")


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
