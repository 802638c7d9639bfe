//! AMP on in-memory networks of unmodified LDK nodes: payers that build their own shards, and a receiver with
//! ampd's gateway, invoice registry and store.
//!
//! AMP is specified by lnd's receiver. This table lists its checks in its order and the tests for each:
//!
//! | | lnd's check | tests |
//! |---|---|---|
//! | 1 | no MPP record; expiry before height + 19 | `invoice_rules::rejects_amp_without_an_mpp_record`, `spontaneous::rejects_expiries_below_ldks_minimum` |
//! | 2 | no invoice with this payment address | `spontaneous::rejects_spontaneous_payments_without_accept_amp` |
//! | 3 | the HTLC interceptor's decision | none: ampd has no HTLC interceptor |
//! | 4 | a replay gets the stored answer | `replays` |
//! | 5 | AMP without MPP | `invoice_rules::rejects_amp_without_an_mpp_record` |
//! | 6 | AMP to a non-AMP invoice, or the reverse | `invoice_rules::regular_invoice_rejects_amp_payments`, `amp_invoice_rejects_non_amp_payments` |
//! | 7 | the invoice is not open | `closing` |
//! | 8 | payment address differs from the invoice's | none: invoices are found by payment address |
//! | 9, 10 | total is zero or below the invoice's value | `invoice_rules::rejects_totals_below_the_value_or_zero` |
//! | 11 | total differs from that of held shards | `sets::shard_with_another_total_fails_alone`, `timeouts::shard_with_another_total_is_refused_and_the_first_one_times_out` |
//! | 12, 13 | expiry too soon, in general and for the invoice | `invoice_rules::rejects_expiries_below_the_invoices_delta` |
//! | 14 | the set id is all zeros | `sets::rejects_an_all_zero_set_id` |
//! | 15 | the set id belongs to another invoice | `sets::set_id_is_bound_to_one_invoice` |
//! | 16, 18 | hold incomplete sets, settle complete ones | `sets::first_shard_is_held_until_the_second_settles_both` |
//! | 17 | shares that do not reconstruct the hashes | `sets::wrong_share_fails_its_set_but_the_invoice_stays_payable` |
//!
//! Cases also checked manually against a running lnd:
//!
//! | case | tests |
//! |---|---|
//! | a single shard whose share is the root, any child index, forty shards, interleaved sets, two payers | `sets` |
//! | total above the invoice's value, shards above the total | `sets::overpaid_sets_settle` |
//! | expiry 1,500 blocks away | `invoice_rules::rejects_expiries_below_the_invoices_delta` |
//! | the same payment address again, for less or more | `spontaneous::paid_payment_address_accepts_the_same_total_or_more_but_not_less` |
//! | custom records, a keysend record with AMP | `spontaneous::custom_records_including_a_keysend_record_are_stored` |
//! | the same set id with new children after a timeout | `timeouts::timed_out_set_can_be_completed_with_new_children` |
//! | invoice canceled with half a set held | `closing::canceling_an_invoice_fails_held_shards_and_rejects_new_ones` |
//! | receiver stopped with half a set held | `replays::incomplete_set_survives_restarts_and_is_completed` |
//! | a wrong share, alone and next to another set; a further shard for a settled set | `sets` |
//! | two shards with the same hash | `hashes::second_shard_with_the_hash_of_a_held_one_is_refused_alone` |
//!
//! On the pure set (`crates/ldk-amp/src/set/tests.rs`), where a network adds nothing:
//! `invalid_child_index_or_hash_fails_the_set`, `replays_get_the_same_answer` (also
//! close to the expiry, where lnd refuses it),
//! `overflowing_amounts_complete_the_set`.
//!
//! Differences from lnd 0.21: `sets::wrong_share_does_not_affect_another_set_on_the_invoice`,
//! `sets::settled_set_rejects_further_shards`,
//! `sets::set_fails_whole_if_one_shard_is_about_to_be_failed_back`,
//! `closing::paid_invoice_can_be_canceled`,
//! `closing::expired_invoice_rejects_payments_whether_paid_before_or_not`,
//! `sets::refusal_reports_the_current_height`, `hashes`, `limits`.
//!
//! In the other direction ampd's payments module pays: `paying` (splitting, retries, limits, restarts,
//! keysend, non-AMP invoices), `outages` (temporary failures) and `answers` (each failure that a receiver may
//! return).

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test may panic"
)]

mod announcements;
mod answers;
mod closing;
mod gateway;
mod hashes;
mod hold;
mod invoice_rules;
mod keysend;
mod limits;
mod network;
mod outages;
mod payer;
mod paying;
mod paying_scene;
mod payloads;
mod peer_storage;
mod receiver;
mod replays;
mod scene;
mod sender;
mod sets;
mod spontaneous;
mod timeouts;
