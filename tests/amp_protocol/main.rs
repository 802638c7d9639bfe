//! AMP on in-memory networks of unmodified LDK nodes: payers that make their shards by hand, and a
//! receiver with our gateway, registry and books.
//!
//! lnd's receiver is AMP's specification. Its checks, in its order, and what shows each of them:
//!
//! | | lnd's check | tests |
//! |---|---|---|
//! | 1 | no MPP record; expiry before height + 19 | `invoice_rules::amp_without_a_payment_address_is_refused`, `spontaneous::too_early_an_expiry_is_refused` |
//! | 2 | no invoice with this address | `spontaneous::without_accept_amp_they_are_refused` |
//! | 3 | an interceptor's word | none: ampd has no interceptor of HTLCs |
//! | 4 | a replay gets the stored answer | `replays` |
//! | 5 | AMP without MPP | `invoice_rules::amp_without_a_payment_address_is_refused` |
//! | 6 | AMP to an ordinary invoice, or the reverse | `invoice_rules::an_ordinary_invoice_is_not_paid_with_amp`, `an_amp_invoice_is_not_paid_without_amp` |
//! | 7 | the invoice is not open | `closing` |
//! | 8 | another address than the invoice's | none: the invoice is found by it |
//! | 9, 10 | total of zero, or below the invoice's value | `invoice_rules::too_small_a_total_is_refused` |
//! | 11 | another total than the shards held so far | `sets::a_shard_with_another_total_fails_alone`, `timeouts::a_shard_with_another_total_is_refused_at_once_and_the_first_one_times_out` |
//! | 12, 13 | expiry too soon, in general and for the invoice | `invoice_rules::too_early_an_expiry_is_refused` |
//! | 14 | a set id of zeros | `sets::a_set_id_of_zeros_is_refused` |
//! | 15 | a set id of another invoice | `sets::a_set_id_belongs_to_one_invoice` |
//! | 16, 18 | hold what is incomplete, settle what is complete | `sets::half_a_set_is_held_and_the_other_half_settles_both` |
//! | 17 | shares that do not give the hashes | `sets::a_wrong_share_fails_its_set_and_the_invoice_stays_payable` |
//!
//! Also tried on a running lnd, by hand:
//!
//! | case | tests |
//! |---|---|
//! | one shard that is the root, any child index, forty shards, twenty interleaved sets, two payers | `sets` |
//! | a total above the invoice, shards above the total | `sets::more_than_was_asked_for_or_announced_settles` |
//! | an expiry 1,500 blocks away | `invoice_rules::too_early_an_expiry_is_refused` |
//! | the same address again, for less or more | `spontaneous::an_address_that_was_paid_takes_the_same_or_more_but_not_less` |
//! | custom records, a keysend record beside AMP | `spontaneous::custom_records_are_kept_and_a_keysend_record_is_one_of_them` |
//! | after the timeout the same set id with new children | `timeouts::an_incomplete_set_times_out_and_its_payer_completes_it_with_new_children` |
//! | canceled with half a set held | `closing::canceling_an_invoice_gives_back_what_is_held_and_takes_nothing_more` |
//! | stopped with half a set held | `replays::half_a_set_outlives_a_restart_and_is_completed_after_it` |
//! | one wrong share, alone and beside another set; one more shard for a settled set | `sets` |
//! | two shards with one hash | `hashes::a_second_shard_with_the_hash_of_a_held_one_is_refused_alone` |
//!
//! On the pure set (`src/amp/set/tests.rs`), where a network adds nothing:
//! `invalid_child_index_or_hash_fails_the_set`, `replays_get_the_same_answer` (also
//! close to the expiry, where lnd refuses it),
//! `overflowing_amounts_complete_the_set`.
//!
//! Where ampd is not as lnd 0.21: `sets::a_wrong_share_does_no_harm_to_another_set_on_the_invoice`,
//! `sets::a_settled_set_takes_no_further_shard`,
//! `sets::a_set_of_which_one_shard_is_about_to_be_given_back_is_refused_whole`,
//! `closing::an_invoice_that_was_paid_can_be_canceled`,
//! `closing::an_invoice_past_its_expiry_is_refused_whether_it_was_paid_or_not`,
//! `sets::a_refusal_names_the_height_at_which_it_is_made`, `hashes`, `limits`.
//!
//! The other way round, our payments room pays: `paying` (splitting, retries, limits, restarts,
//! keysend, ordinary invoices), `outages` (what failed temporarily works again) and `answers` (what each
//! failure of the receiver makes of a payment).

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
