"""Dialects of callers and wires of providers, translated through one neutral model. Bytes in, bytes out, no I/O.

neutral           what a request asks for, and what a reply says, in nobody's dialect
sse               events of a stream, told apart however its bytes are cut
openai_request    OpenAI chat bodies, read and written          anthropic_request   the same of Anthropic Messages
openai_reply      OpenAI replies, whole and streamed            anthropic_reply     the same of Anthropic Messages
anthropic_stream  Anthropic replies that pass untouched, with their usage read on the way
translate         which of them serve a caller and a provider
"""
