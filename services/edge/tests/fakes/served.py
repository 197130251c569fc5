"""A fake of another service behind gRPC, so that a client passes the suite of the port that it and the fake are."""

from tollgate.errors.v1 import errors_pb2 as errors
from tollgate_edge.errors import PublicError, public_error
from tollgate_kit.grpc_io import abort_with

KINDS = {public_error(kind).code: kind for kind in errors.ErrorKind.values()}


async def abort(context, error):
    """Sends a public error as the service that it came from would."""
    retry = int(error.headers.get("retry-after-ms", 0))
    kind = KINDS.get(error.code, errors.ERROR_KIND_INTERNAL)
    said = errors.Error(kind=kind, message=error.message, param=error.param, code=error.code, retry_after_ms=retry)
    await abort_with(context, said)


def unary(call, wrap=lambda reply: reply):
    """Returns a handler that answers what `call(request)` does."""

    async def handle(_, request, context):
        try:
            return wrap(await call(request))
        except PublicError as error:
            await abort(context, error)

    return handle


def stream(call):
    """Returns a handler that sends what `call(request)` yields."""

    async def handle(_, request, context):
        try:
            async for reply in call(request):
                yield reply
        except PublicError as error:
            await abort(context, error)

    return handle


def servicer(base, **handlers):
    """Returns a servicer of a generated class that answers the calls of these names."""
    return type("Served", (base,), handlers)()
