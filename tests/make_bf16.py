#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A copy of a checkpoint directory with its weights rounded to bfloat16.

    make_bf16.py IN_DIR OUT_DIR

Standard library only, so that it runs wherever the tests run. Every F64, F32 and F16 tensor of every *.safetensors is
rounded once, to nearest even; buffers (causal masks, rotary frequencies) and integers stay as they are. config.json says
"torch_dtype": "bfloat16", the index its new total_size. Other formats of the same weights (*.bin, ...) are left out:
they would not be the model that this directory holds.
"""
import array
import json
import os
import shutil
import struct
import sys

BUFFERS = (".attn.bias", ".attention.bias", ".masked_bias", ".inv_freq")
OTHER_WEIGHTS = (".bin", ".bin.index.json", ".h5", ".msgpack", ".ot", ".pt", ".pth", ".gguf", ".onnx")
FORMATS = {"F64": "d", "F32": "f", "F16": "e"}


def to_bf16(data, dtype):
    """Bytes of a little-endian tensor -> bytes of the same tensor in bf16."""
    if dtype != "F32":  # to f32 first: exact from f16; from f64 this rounds twice, which no checkpoint needs better
        count = len(data) // struct.calcsize(FORMATS[dtype])
        data = struct.pack(f"<{count}f", *struct.unpack(f"<{count}{FORMATS[dtype]}", data))
    words = array.array("I", data)
    if sys.byteorder == "big":
        words.byteswap()
    halves = array.array("H", (
        (w + 0x7FFF + (w >> 16 & 1)) >> 16 if w & 0x7FFFFFFF <= 0x7F800000  # numbers and infinities: nearest even
        else w >> 16 | 0x40                                                 # NaN stays NaN
        for w in words))
    if sys.byteorder == "big":
        halves.byteswap()
    return halves.tobytes()


def convert_file(source, target):
    """Rewrites one safetensors file; returns the bytes of its tensors."""
    with open(source, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), f.read()
    parts, at, out = [], 0, {}
    if "__metadata__" in header:
        out["__metadata__"] = header.pop("__metadata__")
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        dtype, part = entry["dtype"], data[begin:end]
        if dtype in FORMATS and not name.endswith(BUFFERS):
            dtype, part = "BF16", to_bf16(part, dtype)
        out[name] = {"dtype": dtype, "shape": entry["shape"], "data_offsets": [at, at + len(part)]}
        parts.append(part)
        at += len(part)
    text = json.dumps(out, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(target, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(parts))
    return at


def edit_json(source, target, change):
    with open(source, encoding="utf-8") as f:
        value = json.load(f)
    change(value)
    with open(target, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


def main():
    if len(sys.argv) != 3:
        print("usage: make_bf16.py IN_DIR OUT_DIR", file=sys.stderr)
        return 2
    source, target = sys.argv[1:]
    os.makedirs(target, exist_ok=True)
    names, total = sorted(os.listdir(source)), 0
    for name in names:
        a, b = os.path.join(source, name), os.path.join(target, name)
        if name.endswith(".safetensors"):
            total += convert_file(a, b)
        elif name == "config.json":
            edit_json(a, b, lambda config: config.update(torch_dtype="bfloat16"))
        elif os.path.isfile(a) and not name.endswith(OTHER_WEIGHTS) and not name.endswith(".index.json"):
            shutil.copyfile(a, b)
    index = "model.safetensors.index.json"
    if index in names:
        edit_json(os.path.join(source, index), os.path.join(target, index),
                  lambda value: value.setdefault("metadata", {}).update(total_size=total))
    return 0


if __name__ == "__main__":
    sys.exit(main())
