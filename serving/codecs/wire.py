"""How many values a serialised message has, before a parser makes objects of them."""

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from darkroom.serving.errors import invalid

# Each field costs a parser 50 ns and up to 100 bytes, and Python 100 ns more; a request has one for
# each string, and for each feature of an example. Numbers of a packed field cost a tenth.
_MOST_FIELDS, _MOST_NUMBERS = 100_000, 8_000_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_BOOL, FieldDescriptor.CPPTYPE_ENUM,
}  # fmt: skip


def require_few(content: bytes, message: Descriptor) -> None:
    """Raises ServingError where a message has more values than a request may.

    What is no message isn't noticed: its parser says so.
    """
    fields = numbers = 0
    within = [(0, len(content), message)]
    while within:
        at, end, kind = within.pop()
        while at < end:
            fields += 1
            if fields > _MOST_FIELDS or numbers > _MOST_NUMBERS:
                raise invalid(
                    f"A request may have {_MOST_FIELDS:,} fields, each string and feature one, and "
                    f"{_MOST_NUMBERS:,} packed numbers; send large tensors as tensor_content."
                )
            try:
                tag, at = varint(content, at)
                wire_type = tag & 7
                if wire_type == _VARINT:
                    _, at = varint(content, at)
                elif wire_type in _FIXED:
                    at += _FIXED[wire_type]
                elif wire_type == _BYTES:
                    size, at = varint(content, at)
                    field = kind.fields_by_number.get(tag >> 3)
                    if field is not None and field.message_type is not None:
                        within.append((at, min(at + size, end), field.message_type))
                    elif field is not None and field.cpp_type in _NUMBERS:
                        numbers += min(size, end - at)
                    at += size
                else:
                    return
            except IndexError:
                return


def varint(content: bytes, at: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise IndexError
