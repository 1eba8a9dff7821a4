# Copyright 2026 The Choir Authors
# SPDX-License-Identifier: Apache-2.0
"""GGUF v3 files for test tools: a plain reader and writer, little endian, independent of engine/gguf.

Tensors are (name, type name, shape, bytes): the shape is row-major, slowest axis first, so a linear layer is
[out, in]; the file stores the axes the other way round. Only the types that the tools write are known.
"""

import struct

import numpy as np

ALIGNMENT = 32
_MAGIC = b"GGUF"
_VERSION = 3

# Value types of the container, by the names used in metadata tuples.
_SCALARS = {"u8": (0, "<B"), "i8": (1, "<b"), "u16": (2, "<H"), "i16": (3, "<h"), "u32": (4, "<I"),
            "i32": (5, "<i"), "f32": (6, "<f"), "bool": (7, "<?"), "u64": (10, "<Q"), "i64": (11, "<q"),
            "f64": (12, "<d")}
_STRING, _ARRAY = 8, 9
_SCALAR_BY_ID = {number: (name, fmt) for name, (number, fmt) in _SCALARS.items()}

# Tensor types: id, elements in a block, bytes in a block.
_TENSOR_TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q8_0": (8, 32, 34)}
_TENSOR_TYPE_BY_ID = {number: (name, block, size) for name, (number, block, size) in _TENSOR_TYPES.items()}


def _pack_string(text):
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _pack_value(kind, value):
    """kind: a scalar name, "str", or "[scalar or str]" for an array."""
    if kind == "str":
        return struct.pack("<I", _STRING) + _pack_string(value)
    if kind.startswith("["):
        element = kind[1:-1]
        if element == "str":
            body = b"".join(_pack_string(v) for v in value)
            number = _STRING
        else:
            number, fmt = _SCALARS[element]
            body = b"".join(struct.pack(fmt, v) for v in value)
        return struct.pack("<IIQ", _ARRAY, number, len(value)) + body
    number, fmt = _SCALARS[kind]
    return struct.pack("<I", number) + struct.pack(fmt, value)


def _padding(size):
    return b"\0" * (-size % ALIGNMENT)


def write(path, metadata, tensors):
    """metadata: [(key, kind, value)]; tensors: [(name, type name, shape, bytes)]. Same input, same bytes."""
    head = bytearray(_MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata)))
    for key, kind, value in metadata:
        head += _pack_string(key) + _pack_value(kind, value)
    offset = 0
    for name, type_name, shape, data in tensors:
        number, block, size = _TENSOR_TYPES[type_name]
        expected = int(np.prod(shape)) // block * size
        if shape[-1] % block or len(data) != expected:
            raise ValueError(f"{name}: {len(data)} bytes of {type_name} do not fit shape {shape} ({expected} bytes)")
        head += _pack_string(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *reversed(shape)) + struct.pack("<IQ", number, offset)
        offset += len(data) + len(_padding(len(data)))
    with open(path, "wb") as out:
        out.write(head + _padding(len(head)))
        for _, _, _, data in tensors:
            out.write(data + _padding(len(data)))


class _Cursor:
    def __init__(self, data):
        self.data = data
        self.position = 0

    def scalar(self, fmt):
        (value,) = struct.unpack_from(fmt, self.data, self.position)
        self.position += struct.calcsize(fmt)
        return value

    def string(self):
        size = self.scalar("<Q")
        text = self.data[self.position:self.position + size]
        self.position += size
        return text.decode("utf-8", "surrogateescape")

    def value(self, number):
        if number == _STRING:
            return self.string()
        if number == _ARRAY:
            element = self.scalar("<I")
            return [self.value(element) for _ in range(self.scalar("<Q"))]
        return self.scalar(_SCALAR_BY_ID[number][1])


def read(path):
    """Returns ({key: value}, {name: (type name, shape, bytes)}), both in file order."""
    with open(path, "rb") as source:
        cursor = _Cursor(source.read())
    if cursor.data[:4] != _MAGIC:
        raise ValueError(f"{path}: not a GGUF file")
    cursor.position = 4
    version, tensor_count, metadata_count = cursor.scalar("<I"), cursor.scalar("<Q"), cursor.scalar("<Q")
    if version != _VERSION:
        raise ValueError(f"{path}: GGUF version {version}, expected {_VERSION}")
    metadata = {}
    for _ in range(metadata_count):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.scalar("<I"))
    infos = []
    for _ in range(tensor_count):
        name = cursor.string()
        shape = tuple(reversed([cursor.scalar("<Q") for _ in range(cursor.scalar("<I"))]))
        infos.append((name, shape, cursor.scalar("<I"), cursor.scalar("<Q")))
    alignment = metadata.get("general.alignment", ALIGNMENT)
    base = (cursor.position + alignment - 1) // alignment * alignment
    tensors = {}
    for name, shape, number, offset in infos:
        type_name, block, size = _TENSOR_TYPE_BY_ID[number]
        count = int(np.prod(shape)) // block * size
        tensors[name] = (type_name, shape, cursor.data[base + offset:base + offset + count])
    return metadata, tensors


def encode(values, type_name):
    """float32 array [..., row] to the bytes of a tensor; Q8_0 rounds each block of 32 to int8 times an F16 scale."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if type_name == "F32":
        return values.tobytes()
    if type_name == "F16":
        return values.astype(np.float16).tobytes()
    blocks = values.reshape(-1, 32)
    scale = np.abs(blocks).max(1) / np.float32(127)
    # Quotients use the unrounded scale, as ggml's reference quantiser does.
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    scaled = blocks * inverse[:, None]
    quants = np.trunc(scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    packed = np.empty((len(blocks), 34), np.uint8)
    packed[:, :2] = scale.astype(np.float16)[:, None].view(np.uint8)
    packed[:, 2:] = quants.view(np.uint8)
    return packed.tobytes()


def decode(type_name, shape, data):
    """The inverse of encode: a float32 array."""
    if type_name == "F32":
        return np.frombuffer(data, "<f4").reshape(shape)
    if type_name == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32).reshape(shape)
    packed = np.frombuffer(data, np.uint8).reshape(-1, 34)
    scale = np.ascontiguousarray(packed[:, :2]).view("<f2").astype(np.float32)
    return (np.ascontiguousarray(packed[:, 2:]).view(np.int8).astype(np.float32) * scale).reshape(shape)
