"""Functions that sign requests to APIs which want each one signed: ``auth: {kind: signature, hook: …}``.

A hook is named in the catalog as ``signing.<module>:<function>``; nothing outside of this package is called.
Its contract::

    def sign(request, secrets, options) -> dict[str, str]

``request``
    has ``method``, ``url`` (text, exactly as sent, with the query), ``headers`` (those set so far; the HTTP
    client adds Host, Content-Length and Accept-Encoding later) and ``body`` (bytes, ``b""`` for none).
``secrets``, ``options``
    what the catalog names under these keys, looked up.

It returns the headers to add or replace, as text without line breaks. It is called for each attempt and
each redirect, so a time in the signature is always fresh; one after the other, in the thread that fetches
pages, so it must not wait for anything. What it raises stops the pull and is told by the name of its class.
Signatures of 16 characters and more are kept out of everything that is written, like any secret.
"""
