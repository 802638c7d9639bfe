// Common ln-service calls (as used by Balance of Satoshis, ThunderHub, ...) on two nodes with a channel.
// Arguments: two JSON files {socket, cert, macaroon, public_key}, the payer first.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import * as lns from 'ln-service';

const node = (file) => {
  const { socket, cert, macaroon, public_key: key } = JSON.parse(readFileSync(file, 'utf8'));
  const { lnd } = lns.authenticatedLndGrpc({ socket, cert, macaroon });
  return { lnd, key };
};

const payer = node(process.argv[2]);
const payee = node(process.argv[3]);

const info = async () => {
  const wallet = await lns.getWalletInfo({ lnd: payer.lnd });
  assert.equal(wallet.public_key, payer.key);
  assert.equal(wallet.is_synced_to_chain, true);
  assert.equal(wallet.active_channels_count, 1);
  const { public_key: identity } = await lns.getIdentity({ lnd: payer.lnd });
  assert.equal(identity, payer.key);
  const { current_block_height: height } = await lns.getHeight({ lnd: payer.lnd });
  assert.ok(height > 100);
};

const balances = async () => {
  const { channel_balance: sat } = await lns.getChannelBalance({ lnd: payer.lnd });
  assert.ok(sat > 100_000);
  const { chain_balance: chain } = await lns.getChainBalance({ lnd: payer.lnd });
  assert.ok(chain > 0);
};

const channelsAndPeers = async () => {
  const { channels: [channel] } = await lns.getChannels({ lnd: payer.lnd });
  assert.equal(channel.partner_public_key, payee.key);
  assert.equal(channel.is_active, true);
  const { peers } = await lns.getPeers({ lnd: payer.lnd });
  assert.ok(peers.some((peer) => peer.public_key === payee.key));
  const { pending_channels: pending } = await lns.getPendingChannels({ lnd: payer.lnd });
  assert.deepEqual(pending, []);
  const { channels: closed } = await lns.getClosedChannels({ lnd: payer.lnd });
  assert.deepEqual(closed, []);
};

// As in a shop: create an invoice, subscribe to it, and check that it is paid.
const invoice = async () => {
  const made = await lns.createInvoice({ lnd: payee.lnd, tokens: 1_000, description: 'tea' });
  const decoded = await lns.decodePaymentRequest({ lnd: payer.lnd, request: made.request });
  assert.equal(decoded.destination, payee.key);
  assert.equal(decoded.tokens, 1_000);
  const one = lns.subscribeToInvoice({ lnd: payee.lnd, id: made.id });
  const all = lns.subscribeToInvoices({ lnd: payee.lnd });
  const confirmed = (events) => new Promise((resolve, reject) => {
    events.on('error', (error) => reject(new Error(JSON.stringify(error))));
    events.on('invoice_updated', (update) => update.is_confirmed && resolve(update));
  });
  const updates = Promise.all([confirmed(one), confirmed(all)]);
  // Pay only once the node has processed the subscription.
  await once(one, 'invoice_updated');
  const paid = await lns.pay({ lnd: payer.lnd, request: made.request });
  assert.equal(paid.id, made.id);
  assert.equal(paid.tokens, 1_000);
  for (const update of await updates) {
    assert.equal(update.id, made.id);
    assert.equal(update.received, 1_000);
  }
  [one, all].forEach((events) => events.removeAllListeners());
  const { is_confirmed: settled, secret } = await lns.getInvoice({ lnd: payee.lnd, id: made.id });
  assert.equal(settled, true);
  assert.equal(secret, paid.secret);
  const { payment } = await lns.getPayment({ lnd: payer.lnd, id: made.id });
  assert.equal(payment.secret, paid.secret);
  const { payments } = await lns.getPayments({ lnd: payer.lnd });
  assert.ok(payments.some(({ id, is_confirmed: done }) => id === made.id && done));
  const { invoices } = await lns.getInvoices({ lnd: payee.lnd });
  assert.ok(invoices.some(({ id, is_confirmed: done }) => id === made.id && done));
};

const unknown = async () => {
  const id = '11'.repeat(32);
  await assert.rejects(lns.getPayment({ lnd: payer.lnd, id }), (error) => error[1] === 'SentPaymentNotFound');
};

// ln-service has no AMP methods, but its gRPC clients support AMP.
const amp = async () => {
  const call = (client, method, request) => new Promise((resolve, reject) => {
    client[method](request, (error, answer) => (error ? reject(error) : resolve(answer)));
  });
  const made = await call(payee.lnd.default, 'addInvoice', { memo: 'tips', is_amp: true });
  const pay = () => new Promise((resolve, reject) => {
    const { payment_request: request } = made;
    const terms = { payment_request: request, amp: true, amt: '2000', timeout_seconds: 30, fee_limit_sat: '100' };
    const updates = payer.lnd.router.sendPaymentV2(terms);
    let last;
    updates.on('data', (update) => { last = update; });
    updates.on('error', reject);
    updates.on('end', () => resolve(last));
  });
  for (const _ of [1, 2]) {
    const payment = await pay();
    assert.equal(payment.status, 'SUCCEEDED');
    assert.equal(payment.value_sat, '2000');
  }
  const found = await call(payee.lnd.default, 'lookupInvoice', { r_hash: made.r_hash });
  assert.equal(found.amt_paid_sat, '4000');
  assert.equal(Object.keys(found.amp_invoice_state).length, 2);
};

const keysend = async () => {
  const paid = await lns.payViaPaymentDetails({ lnd: payer.lnd, destination: payee.key, tokens: 500,
    id: '66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925',
    messages: [{ type: '5482373484', value: '00'.repeat(32) }] });
  assert.equal(paid.secret, '00'.repeat(32));
};

const wallet = async () => {
  const { address } = await lns.createChainAddress({ lnd: payer.lnd, format: 'p2wpkh' });
  assert.match(address, /^bcrt1q/);
};

const weak = async () => {
  const lnd = lns.authenticatedLndGrpc({ ...JSON.parse(readFileSync(process.argv[2], 'utf8')), macaroon: '00' }).lnd;
  await assert.rejects(lns.getWalletInfo({ lnd }), (error) => error[1] === 'UnexpectedGetWalletInfoError' || error[0] >= 400);
};

for (const step of [info, balances, channelsAndPeers, invoice, unknown, amp, keysend, wallet, weak]) {
  await step();
  console.log(`${step.name}: done`);
}
process.exit(0);
