#!/usr/bin/env python3
"""Writes the seeds of some targets, seeds/<target>/, from test data and the example of the config file. The
seeds are in the repository; run this again if a target's input changes. Those of `macaroon` and `rest` were
written by hand."""

import json
import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "tests" / "data"


def write(target, name, content):
    file = HERE / "seeds" / target / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def invoice(name, text):
    """A payment request, and the same in two lines without signature (104 characters) and checksum (6)."""
    hrp, data = text.rsplit("1", 1)
    write("invoice", name, text)
    write("invoice", name + "_unsigned", f"{hrp}\n{data[:-110]}")


for target in "config", "gossip", "invoice", "stored_json":
    shutil.rmtree(HERE / "seeds" / target, ignore_errors=True)

for number, recorded in enumerate(json.loads((DATA / "lnd_invoices.json").read_text())):
    invoice(f"lnd_{number}", recorded["addinvoice"]["payment_request"])
for number, published in enumerate(json.loads((DATA / "amp_invoices.json").read_text())["invoices"]):
    invoice(f"amp_{number}", published["bolt11"])

example = (HERE.parent / "config.example.toml").read_text().splitlines()
settings = [line[1:] for line in example if line[:1] == "#" and line[1:2].isalpha()]
table = example.index("[donations]")
in_table = [line[1:] for line in example[table:] if line[:1] == "#" and line[1:2].isalpha()]
outside = settings[: len(settings) - len(in_table)]
write("config", "defaults", "\n".join([*outside, "[donations]", *in_table]))
for number in range(0, len(outside), 8):
    write("config", f"outside_{number}", "\n".join(outside[number : number + 8]))
write("config", "donations", "\n".join(["[donations]", *in_table]))
write("config", "lists", 'listen = ["127.0.0.1:9735", "[::1]:9735"]\nexternal-address = ["a.example:9735"]')

KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
hop = {"node_id": KEY, "scid": 1, "amt_to_forward_msat": 2, "fee_msat": 3, "expiry": 4, "cltv_delta": 5}
hint = {"node_id": KEY, "scid": 1, "fee_base_msat": 2, "fee_ppm": 3, "cltv_delta": 4}
STORED = {
    "payment_terms": {
        "destination": KEY,
        "amount_msat": 1,
        "fee_limit_msat": 2,
        "payment_request": "",
        "payment_addr": [7] * 32,
        "final_cltv_delta": 80,
        "cltv_limit": 0,
        "max_parts": 16,
        "max_shard_msat": 0,
        "outgoing_channels": [1],
        "last_hop": KEY,
        "route_hints": [[hint]],
        "custom_records": {"65536": [1]},
        "deadline": 9,
        "by_route": False,
    },
    "route": [hop, {**hop, "custom_records": {"65536": [1, 2]}}],
    "attempt_failure": {"by_receiver": True, "timed_out": False, "source_index": 1, "height": 2},
    "invoice_terms": {
        "memo": "tea",
        "description_hash": None,
        "payment_request": "lnbcrt1",
        "expiry": 3600,
        "cltv_delta": 80,
        "private": False,
    },
    "custom_records": {"65536": [], "18446744073709551615": [0, 255]},
    "closed_channel": {
        "channel_id": "07" * 32,
        "channel_point": "08" * 32 + ":1",
        "scid": 1,
        "peer": None,
        "capacity_sat": 2,
        "local_balance_msat": 3,
        "initiator": True,
        "private": False,
        "close_type": "Cooperative",
        "close_initiator": "Local",
        "reason": "",
        "closing": {"txid": "09" * 32, "height": None, "kind": "OurCommitment"},
    },
}
for name, stored in STORED.items():
    write("stored_json", name, json.dumps(stored))

# Steps of the target `gossip`: the low bits are a channel (2) and its side (1).
ANNOUNCE, UPDATE, FORGE, CHECK, SEND, RAW = 0x00, 0x40, 0x80, 0xA0, 0xC0, 0xE0
write("gossip", "late_update", bytes([ANNOUNCE, CHECK, SEND, UPDATE, 1, UPDATE | 4, 2]))
write("gossip", "early_updates", bytes([UPDATE, 1, UPDATE | 4, 2, ANNOUNCE, CHECK, SEND]))
write("gossip", "while_checked", bytes([ANNOUNCE, UPDATE, 5, FORGE, 0x19, CHECK, SEND]))
write("gossip", "forged", bytes([UPDATE | 1, 1, *[FORGE | 1, 0x42] * 4, ANNOUNCE | 1, CHECK, SEND]))
chain = bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f")
query = chain + bytes(4) + b"\xff" * 4
write("gossip", "query", bytes([ANNOUNCE, CHECK, SEND, RAW | 5, len(query) // 4]) + query + bytes([SEND]))
