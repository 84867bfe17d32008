"""What an ONNX file may hold: all its tensors inside of it, and no operator but those of the standard.

ONNX is protobuf. Read is what leads from a model to its tensors, its nodes and the operator sets that it asks for; the
onnx package would read this too, at 40 MB of dependency. A runtime is only given what passes: no path that leaves the
file (a tensor's external data), none of the domains whose operators load libraries, files or compiled code
(`com.microsoft`'s EPContext, a custom operator's), no function in a domain of its own.
"""

from __future__ import annotations

#: Domains whose operators are the standard's, and the newest version of each that back ends here are tried with.
OPSETS = {"": 22, "ai.onnx": 22, "ai.onnx.ml": 5}
#: Messages that lie in each other, such as subgraphs in a node's attribute: a runtime's own parser takes 100.
MAX_DEPTH = 64

# Which fields lead on, by message; a tensor's own fields 13 (external_data) and 14 (data_location) must not be there.
_LEADS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 9: "opset", 10: "domain", 11: "attribute"},
    "node": {5: "attribute", 7: "domain"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "opset": {1: "domain"},
    "tensor": {},
}
_EXTERNAL = (13, 14)
_VERSION = 2  # of an operator set
#: Protobuf's last field; runtimes cut longer numbers off, and would read another field than is looked at here.
_MAX_FIELD = (1 << 29) - 1


def fault(model: bytes) -> str:
    """Return what is wrong with an ONNX file, such as "keeps tensors in other files", or "".

    Example
    -------
    >>> fault(bytes.fromhex("3a042a027001"))
    'keeps tensors in other files: expected them all inside of it'
    """
    waiting = [("model", 0, len(model), 0)]
    try:
        while waiting:
            message, at, end, depth = waiting.pop()
            if depth > MAX_DEPTH:
                return f"nests more than {MAX_DEPTH} messages deep"
            domain, version = "", 0
            while at < end:
                tag, at = _varint(model, at)
                number, wire = tag >> 3, tag & 7
                if number > _MAX_FIELD:
                    return _DAMAGED
                if message == "tensor" and number in _EXTERNAL:
                    return "keeps tensors in other files: expected them all inside of it"
                if wire == 2:
                    length, at = _varint(model, at)
                    child = _LEADS[message].get(number, "")
                    if child == "domain":
                        domain = model[at : at + length].decode()
                        if domain not in OPSETS:
                            return f"has operators of {domain!r}: expected those of {_known()} alone"
                    elif child:
                        waiting.append((child, at, at + length, depth + 1))
                    at += length
                elif wire == 0:
                    value, at = _varint(model, at)
                    if message == "opset" and number == _VERSION:
                        version = value
                else:
                    at += {1: 8, 5: 4}[wire]
            if at != end:
                return _DAMAGED
            if message == "opset" and version > OPSETS[domain]:
                return f"wants operator set {version} of {domain or 'ONNX'}: expected {OPSETS[domain]} at most"
    except (IndexError, KeyError, OverflowError, UnicodeDecodeError):
        return _DAMAGED
    return ""


_DAMAGED = "is no ONNX file: its bytes do not parse"


def _known() -> str:
    return ", ".join(domain for domain in OPSETS if domain)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise OverflowError("a number of more than 64 bits")
