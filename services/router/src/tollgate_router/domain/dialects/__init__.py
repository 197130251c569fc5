"""Dialects of callers and wires of providers, translated through one neutral model. Bytes in, bytes out, no I/O.

neutral           what a request asks for, and what a reply says, in nobody's dialect
sse               events of a stream, told apart however its bytes are cut
openai_request    OpenAI chat bodies, read and written          anthropic_request   Anthropic Messages bodies, read
openai_reply      OpenAI replies, whole and streamed            anthropic_reply     Anthropic replies, whole and streamed
anthropic_body    Anthropic Messages bodies, written         anthropic_stream    replies that pass untouched, read
gemini_request, gemini_body, gemini_reply, gemini_stream          the same of Gemini's generateContent
translate         which of them serve a caller and a provider
"""
