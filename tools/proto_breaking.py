"""What may not change in proto/ once it is in the baseline."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)


def breaking(before: FileDescriptorSet, after: FileDescriptorSet) -> Iterator[str]:
    """Yields a sentence per change that a peer or a stored event of the old version would not survive."""
    old, new = _Image(before), _Image(after)
    for name, message in old.messages.items():
        if name not in new.messages:
            yield f"message {name} is gone"
        else:
            yield from _breaking_fields(name, message, new.messages[name])
    for name, enum in old.enums.items():
        values = {value.number: value.name for value in new.enums[name].value} if name in new.enums else None
        if values is None:
            yield f"enum {name} is gone"
            continue
        for value in enum.value:
            if values.get(value.number) != value.name:
                yield f"enum value {name}.{value.name} = {value.number} is gone or was renamed"
    for name, method in old.methods.items():
        if name not in new.methods:
            yield f"rpc {name} is gone"
        elif method != new.methods[name]:
            yield f"rpc {name} takes or returns something else"


def _breaking_fields(name: str, old: DescriptorProto, new: DescriptorProto) -> Iterator[str]:
    fields = {field.number: field for field in new.field}
    reserved = {number for span in new.reserved_range for number in range(span.start, span.end)}
    for field in old.field:
        now = fields.get(field.number)
        where = f"field {name}.{field.name} = {field.number}"
        if now is None:
            if field.number not in reserved or field.name not in new.reserved_name:
                yield f"{where} is gone; reserve its number and name"
        elif now.name != field.name:
            yield f"{where} is called {now.name} now"
        elif _shape(now) != _shape(field):
            yield f"{where} has another type"
    known = {field.number for field in old.field}
    dropped = {number for span in old.reserved_range for number in range(span.start, span.end)}
    for field in new.field:
        if field.number in dropped - known:
            yield f"field {name}.{field.name} takes the reserved number {field.number}"


def _shape(field: FieldDescriptorProto) -> tuple[int, int, str, bool, bool]:
    in_oneof = field.HasField("oneof_index") and not field.proto3_optional
    return field.type, field.label, field.type_name, field.proto3_optional, in_oneof


class _Image:
    """Messages, enums and methods of an image by their full name."""

    def __init__(self, image: FileDescriptorSet) -> None:
        self.messages: dict[str, DescriptorProto] = {}
        self.enums: dict[str, EnumDescriptorProto] = {}
        self.methods: dict[str, tuple[str, str, bool, bool]] = {}
        for file in image.file:
            for enum in file.enum_type:
                self.enums[f"{file.package}.{enum.name}"] = enum
            for message in file.message_type:
                self._add(f"{file.package}.{message.name}", message)
            for service in file.service:
                for method in service.method:
                    self.methods[f"{file.package}.{service.name}.{method.name}"] = (
                        method.input_type,
                        method.output_type,
                        method.client_streaming,
                        method.server_streaming,
                    )

    def _add(self, name: str, message: DescriptorProto) -> None:
        self.messages[name] = message
        for enum in message.enum_type:
            self.enums[f"{name}.{enum.name}"] = enum
        for inner in message.nested_type:
            self._add(f"{name}.{inner.name}", inner)
