"""LNbits' wallet class for lnd's REST interface, on two nodes with a channel.

Arguments: two JSON files {rest, certificate_file, macaroon, public_key}, the payer first.
"""

import asyncio
import json
import sys

from lnbits.settings import settings
from lnbits.wallets.lndrest import LndRestWallet


def wallet(file: str) -> LndRestWallet:
    with open(file) as text:
        node = json.load(text)
    settings.lnd_rest_endpoint = node["rest"]
    settings.lnd_rest_cert = node["certificate_file"]
    settings.lnd_rest_macaroon = node["macaroon"]
    return LndRestWallet()


async def first_paid(payee: LndRestWallet) -> str:
    async for checking_id in payee.paid_invoices_stream():
        return checking_id
    raise AssertionError("the stream ended")


async def pays_and_receives(payer: LndRestWallet, payee: LndRestWallet) -> None:
    made = await payee.create_invoice(1_000, memo="tea", expiry=600)
    assert made.ok, made.error_message
    assert (await payee.get_invoice_status(made.checking_id)).pending
    notified = asyncio.create_task(first_paid(payee))
    # Yields, so that the stream's request is sent.
    await asyncio.sleep(0)
    before = (await payer.status()).balance_msat
    paid = await payer.pay_invoice(made.payment_request, 100_000)
    assert paid.ok, paid.error_message
    assert paid.preimage == made.preimage
    status = await payer.get_payment_status(paid.checking_id)
    assert status.success and status.preimage == made.preimage
    assert (await payee.get_invoice_status(made.checking_id)).success
    # As with lnd, the payer's balance is reduced by the HTLC's commitment fee until the HTLC is removed.
    while (await payer.status()).balance_msat != before - 1_000_000:
        await asyncio.sleep(0.1)
    # Payments made before the stream was established are not reported, so pay again if necessary.
    while True:
        done, _ = await asyncio.wait([notified], timeout=1)
        if done:
            return
        more = await payee.create_invoice(10)
        assert (await payer.pay_invoice(more.payment_request, 10_000)).ok


async def payment_fails(payer: LndRestWallet, payee: LndRestWallet) -> None:
    made = await payee.create_invoice(900_000_000)
    refused = await payer.pay_invoice(made.payment_request, 1_000)
    assert refused.ok is False, refused
    assert refused.error_message.startswith("FAILURE_REASON_"), refused
    again = await payer.get_payment_status("11" * 32)
    assert again.pending


async def hold_invoice(payer: LndRestWallet, payee: LndRestWallet) -> None:
    preimage = "22" * 32
    payment_hash = __import__("hashlib").sha256(bytes.fromhex(preimage)).hexdigest()
    made = await payee.create_hold_invoice(500, payment_hash, memo="held")
    assert made.ok, made.error_message
    paying = asyncio.create_task(payer.pay_invoice(made.payment_request, 10_000))
    while True:
        invoice = await payee.client.get(f"/v1/invoice/{payment_hash}")
        if invoice.json()["state"] == "ACCEPTED":
            break
        assert not paying.done(), paying.result()
    settled = await payee.settle_hold_invoice(preimage)
    assert settled.ok, settled.error_message
    assert (await paying).ok


async def main() -> None:
    payer, payee = wallet(sys.argv[1]), wallet(sys.argv[2])
    for step in [pays_and_receives, payment_fails, hold_invoice]:
        await asyncio.wait_for(step(payer, payee), 60)
        print(f"{step.__name__}: done")
    await payer.cleanup()
    await payee.cleanup()


asyncio.run(main())
