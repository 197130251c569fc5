"""gRPC streams over HTTP/2 as asyncio protocols, and when the next write of one leaves."""
