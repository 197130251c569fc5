"""Dialects of callers and wires of providers, translated through one neutral model. Bytes in, bytes out, no I/O.

neutral             what a request asks for, and what a reply says, in nobody's dialect
members             members of a body, decoded one by one          sse    events, told apart however bytes are cut
*_request, *_body   a dialect's bodies, read and written           *_reply    its replies, whole and streamed
*_stream            replies that pass untouched, their usage read on the way
translate           which of them serve a caller and a provider
"""
