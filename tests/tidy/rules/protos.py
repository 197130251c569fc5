"""Rules of proto/: how packages, services, messages and enums are named."""

import re
from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

VERB = re.compile(r"[A-Z][a-z]+([A-Z][a-z0-9]+)*")
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
CAMEL = re.compile(r"[A-Z][A-Za-z0-9]*")
# The stream of batches is one conversation: its messages are named for who sends them.
STREAMS = {"tollgate.exchange.v1.ExchangeService.Exchange"}


def lint(image: FileDescriptorSet) -> Iterator[str]:
    """Yields a sentence per broken rule of naming."""
    for file in image.file:
        folder = file.name.rpartition("/")[0].replace("/", ".")
        if file.package != folder:
            yield f"{file.name}: package {file.package} is not its folder {folder}"
        if not re.fullmatch(r"tollgate\.[a-z_]+\.v[0-9]+", file.package):
            yield f"{file.name}: package {file.package} is not tollgate.<domain>.v<number>"
        for enum in file.enum_type:
            yield from _lint_enum(file.name, enum)
        for message in file.message_type:
            yield from _lint_message(file.name, message)
        for service in file.service:
            yield from _lint_service(file, service)


def _lint_enum(where: str, enum: EnumDescriptorProto) -> Iterator[str]:
    prefix = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper()
    if enum.value[0].number != 0 or enum.value[0].name != f"{prefix}_UNSPECIFIED":
        yield f"{where}: enum {enum.name} does not begin with {prefix}_UNSPECIFIED = 0"
    for value in enum.value:
        if not value.name.startswith(f"{prefix}_"):
            yield f"{where}: enum value {value.name} does not begin with {prefix}_"


def _lint_message(where: str, message: DescriptorProto) -> Iterator[str]:
    if not CAMEL.fullmatch(message.name):
        yield f"{where}: message {message.name} is not in CamelCase"
    for field in message.field:
        if not SNAKE.fullmatch(field.name):
            yield f"{where}: field {message.name}.{field.name} is not in snake_case"
    for enum in message.enum_type:
        yield from _lint_enum(where, enum)
    for inner in message.nested_type:
        yield from _lint_message(where, inner)


def _lint_service(file: FileDescriptorProto, service: ServiceDescriptorProto) -> Iterator[str]:
    if not service.name.endswith("Service"):
        yield f"{file.name}: service {service.name} does not end with Service"
    for method in service.method:
        if not VERB.fullmatch(method.name):
            yield f"{file.name}: {service.name}.{method.name} is not a verb in CamelCase"
        if f"{file.package}.{service.name}.{method.name}" in STREAMS:
            continue
        for kind, type_name in (("Request", method.input_type), ("Response", method.output_type)):
            if type_name != f".{file.package}.{method.name}{kind}":
                yield f"{file.name}: {service.name}.{method.name} has {type_name}, not {method.name}{kind}"
