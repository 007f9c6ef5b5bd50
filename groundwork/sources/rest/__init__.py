"""HTTP APIs by configuration: every record letter for letter, every pull resumable where the API allows.

source      the streams of one API, one after another
pull        one stream: rows, and the states to commit with them
capped      pages of an API that serves only so many records of one query
sync        a pull that begins with the token of the one before
pages       its pages in order, fetched ahead
asking      what one request asks: URL, parameters and body
paging      how one answer leads to the next; guards against pages that lead nowhere
cursor      the highest value seen, and the records at its edge
contents    from an answer to records, whatever its format; expected: what makes an answer data
answer_values  values at paths of an answer, lists among them
records     records cut out of a page of JSON as bytes; formats: NDJSON and CSV, packed or not
files       a stream of files: each new or changed one is read once; listing: which there are
fields      which fields records have, and what changed
frames      pages as a frame
transport   one request until it is answered; refusals: what other answers mean; limits: how long
            to wait; pace: one budget for all
conditional what the API said its answer was, so that it need not send it twice
auth        where the API is and how it knows us; redaction: how that stays secret
credentials from the catalog's ``auth`` to what signs requests: tokens (renewed), or signing (a hook)
grants      the ways to obtain a token, of endpoints
background  an event loop in a thread
"""

from groundwork.sources.rest.pull import Sizes
from groundwork.sources.rest.source import RestSource

__all__ = ["RestSource", "Sizes"]
