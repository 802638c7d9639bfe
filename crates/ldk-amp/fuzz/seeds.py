#!/usr/bin/env python3
"""Writes seeds/<target>/ from the test vectors of the crate (../tests/data). The seeds are in the repository;
run this again if a target's input or the vectors change."""

import json
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "tests" / "data"


def vectors(name):
    return json.loads((DATA / name).read_text())


def write(target, name, content):
    file = HERE / "seeds" / target / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def with_length(stream):
    """A BigSize, then the bytes."""
    length = len(stream)
    prefix = bytes([length]) if length < 0xFD else b"\xfd" + length.to_bytes(2, "big")
    return prefix + stream


def record(stream, kind):
    """The value of a record in a payload whose first types and lengths are single bytes."""
    while stream and stream[0] < 0xFD:
        value, stream_after = stream[2 : 2 + stream[1]], stream[2 + stream[1] :]
        if stream[0] == kind:
            return value
        stream = stream_after
    return b""


def high(kind, value):
    """A record of a type from 65536, with less than 253 bytes."""
    kind = b"\xfe" + kind.to_bytes(4, "big") if kind < 1 << 32 else b"\xff" + kind.to_bytes(8, "big")
    return kind + bytes([len(value)]) + value


def htlc(amount_msat, is_final, payload):
    """The input of the target `rewrite`."""
    head = amount_msat.to_bytes(8, "big") + (0).to_bytes(2, "big")
    return head + bytes([0 if is_final else 1]) + with_length(payload)


shutil.rmtree(HERE / "seeds", ignore_errors=True)
ONIONS = vectors("lnd_onions.json")["onions"]
for number, onion in enumerate(ONIONS):
    name, final = f"lnd_{number}", onion["final"]
    payloads = [bytes.fromhex(hop["payload_tlv"]) for hop in onion["hops"]]
    amp, mpp = record(payloads[-1], 14), record(payloads[-1], 8)
    write("packet", name, with_length(payloads[-1]) + bytes(32))
    write("tlv", name, payloads[-1])
    write("rewrite", name, htlc(final["amt_to_forward_msat"], True, payloads[-1]))
    if not amp:
        continue
    write("amp_record", f"amp_{number}", amp)
    write("amp_record", f"mpp_{number}", mpp)
    place = bytes([7] * 32) + (8).to_bytes(8, "big") + (850_200).to_bytes(4, "big")
    ephemeral_key = bytes.fromhex(onion["hops"][-1]["ephemeral_key"])
    records = bytes([len(mpp)]) + mpp + bytes([len(amp)]) + amp
    write("envelope", name, b"\x01" + place + ephemeral_key + records)
    sent = amp.ljust(68, b"\0") + mpp[:32] + final["total_msat"].to_bytes(8, "big")
    custom = (65_537).to_bytes(8, "big") + b"\x02hi" + (5_482_373_484).to_bytes(8, "big") + b"\x01x"
    write("recipient", name, sent + b"\x02id" + custom)

forward = bytes.fromhex(ONIONS[1]["hops"][0]["payload_tlv"])
write("rewrite", "forward", htlc(10**9, False, forward))
# Records that LDK or this node interprets, which senders of these payments have no reason to send.
HIGH = {"invoice_request": (77_777, b"x"), "envelope": (0x616D_7065, b"x"), "keysend": (5_482_373_484, bytes(32))}
for number, payment in (0, "amp"), (6, "bolt11"):
    payload = bytes.fromhex(ONIONS[number]["hops"][-1]["payload_tlv"])
    amount = ONIONS[number]["final"]["amt_to_forward_msat"]
    for name, (kind, value) in HIGH.items():
        write("rewrite", f"{payment}_{name}", htlc(amount, True, payload + high(kind, value)))
write("tlv", "repeated_type", high(65_536, b"x") * 2)
payload = bytes.fromhex(ONIONS[3]["hops"][-1]["payload_tlv"])
write("rewrite", "amp_zero_amount", htlc(21_000, True, b"\2\0" + payload[2 + payload[1] :]))
point = bytes.fromhex(ONIONS[0]["hops"][-1]["ephemeral_key"])
blinded = b"\x0a\x20" + bytes(32) + b"\x0c\x21" + point
write("rewrite", "blinded", htlc(10**9, True, blinded))
packet = bytes.fromhex(ONIONS[0]["hops"][0]["onion_received"])
write("packet", "to_another_node", packet)
for failure in ONIONS[0]["failures"]:
    name = failure["failure"].split(".")[1]
    reason = bytes.fromhex(failure["reason_sent_by_hop"][-1])
    message = bytes([7] * 32) + (8).to_bytes(8, "big") + len(reason).to_bytes(2, "big") + reason
    write("failure", name, bytes([0x32] * 32) + b"\0\3new" + message)
