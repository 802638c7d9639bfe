//! What the demo prints, for somebody who sees AMP for the first time.

use bitcoin::hex::DisplayHex;

use super::{AMOUNT_MSAT, CAPACITY_SAT, Change, Paid, Shard, Tips};
use crate::network::Network;

pub fn print_map() {
    println!("           carol");
    println!("         /       \\");
    println!(
        "    alice - dave - bob      six channels of {} sat each",
        grouped(CAPACITY_SAT)
    );
    println!("         \\       /");
    println!("            eve\n");
    println!(
        "Alice pays {} sat to Bob's public key. Bob asked for nothing and gave no invoice. No two\n\
         ways can carry that together, so the payment is split into shards, one for each way.\n",
        grouped(AMOUNT_MSAT / 1_000)
    );
}

pub fn print_paid(network: &Network, paid: &Paid) {
    println!("  shard  way                      amount in msat  payment hash  sha256(preimage)");
    for (number, shard) in paid.shards.iter().enumerate() {
        print_shard(network, number + 1, shard);
    }
    println!("\n  one set_id    {}", paid.payment.payment_hash);
    println!(
        "  fees paid     {} msat\n",
        grouped(paid.payment.fee_msat.unsigned_abs())
    );
    println!("  balance (msat)            before              after             change");
    print_change("alice", paid.alice);
    print_change("bob", paid.bob);
    println!(
        "\nEach shard has a payment hash of its own, so nobody on the way can tell that they belong\n\
         together. Bob could compute the preimages only when all of them were there: he got\n\
         everything or nothing. Alice paid amount and fees, Bob got the amount, to the msat.\n"
    );
}

pub fn print_tips(tips: &Tips) {
    println!("Bob also publishes one static invoice without an amount:\n");
    println!("  {}\n", short_text(&tips.payment_request));
    println!("Alice pays it, then Carol does. His ledger of it:\n");
    println!("  settle_index  amount in msat  message       set_id");
    for payment in &tips.payments {
        println!(
            "  {:<12}  {:>14}  {:<12}  {}",
            payment.settle_index,
            grouped(payment.amt_msat.unsigned_abs()),
            payment.message,
            short(&payment.set_id),
        );
    }
    println!("\nThe invoice is still open: it can be paid any number of times.\n");
}

/// An invoice is longer than a line.
fn short_text(invoice: &str) -> String {
    let end = invoice.len().saturating_sub(8);
    match (invoice.get(..60), invoice.get(end..)) {
        (Some(head), Some(tail)) if end > 60 => format!("{head}...{tail}"),
        _ => invoice.to_owned(),
    }
}

pub fn print_refused() {
    println!(
        "First, Bob has not switched AMP on. His node refuses the payment: Alice is told\n\
         INCORRECT_PAYMENT_DETAILS, and all balances are as before.\n\n\
         Then Bob sets `accept-amp = true` and starts again. The same payment arrives:\n"
    );
}

fn print_shard(network: &Network, number: usize, shard: &Shard) {
    let name = |key: &String| {
        let node = network.nodes().find(|node| node.key() == key);
        node.map_or("?", |node| node.name()).to_owned()
    };
    let mut way = vec!["alice".to_owned()];
    way.extend(shard.way.iter().map(name));
    println!(
        "  {number:<5}  {:<23}  {:>14}  {:<12}  the same",
        way.join(" > "),
        grouped(shard.amount_msat),
        short(&shard.hash),
    );
}

fn print_change(name: &str, change: Change) {
    let sign = if change.after < change.before {
        '-'
    } else {
        '+'
    };
    println!(
        "  {name:<14} {:>17}  {:>17}  {:>17}",
        grouped(change.before),
        grouped(change.after),
        format!("{sign}{}", grouped(change.before.abs_diff(change.after))),
    );
}

fn short(hash: &[u8]) -> String {
    let hex = hash.to_lower_hex_string();
    format!(
        "{}..{}",
        &hex[..5.min(hex.len())],
        &hex[hex.len().saturating_sub(5)..]
    )
}

/// Digits in groups of three: `2 000 000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let (head, tail) = digits.split_at(first);
    let groups = tail.as_bytes().chunks(3).map(String::from_utf8_lossy);
    let head = (!head.is_empty()).then(|| head.into());
    head.into_iter().chain(groups).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (12, "12"), (123, "123"), (1_234, "1 234")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(2_000_000), "2 000 000");
    }
}
