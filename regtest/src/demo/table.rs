//! The output of the demo, written for readers new to AMP.

use bitcoin::hex::DisplayHex;

use super::{AMOUNT_MSAT, CAPACITY_SAT, Change, Paid, Shard, Tips};
use crate::network::Network;

pub(super) fn print_map() {
    println!("           carol");
    println!("         /       \\");
    println!(
        "    alice - dave - bob      six channels of {} sat each",
        grouped(CAPACITY_SAT)
    );
    println!("         \\       /");
    println!("            eve\n");
    println!(
        "Alice pays {} sat to Bob's public key, without an invoice. No two routes can carry\n\
        that amount together, so the payment is split into shards, one per route.\n",
        grouped(AMOUNT_MSAT / 1_000)
    );
}

pub(super) fn print_paid(network: &Network, paid: &Paid) {
    println!("  shard  route                    amount in msat  payment hash  sha256(preimage)");
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
        "\nEach shard has its own payment hash, so forwarding nodes cannot link the shards. Bob can\n\
        compute the preimages only once all shards have arrived: he receives everything or nothing.\n\
        Alice paid exactly the amount plus fees; Bob received exactly the amount.\n"
    );
}

pub(super) fn print_tips(tips: &Tips) {
    println!("Bob also publishes one static invoice without an amount:\n");
    println!("  {}\n", short_text(&tips.payment_request));
    println!("Alice pays it, then Carol. Bob's list of its payments:\n");
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

/// Shortens an invoice to fit on a line.
fn short_text(invoice: &str) -> String {
    let end = invoice.len().saturating_sub(8);
    match (invoice.get(..60), invoice.get(end..)) {
        (Some(head), Some(tail)) if end > 60 => format!("{head}...{tail}"),
        _ => invoice.to_owned(),
    }
}

pub(super) fn print_refused() {
    println!(
        "First attempt: Bob does not accept AMP payments. His node rejects the payment, Alice gets\n\
        INCORRECT_PAYMENT_DETAILS, and all balances are unchanged.\n\n\
        Bob sets `accept-amp = true` and restarts. The same payment now succeeds:\n"
    );
}

fn print_shard(network: &Network, number: usize, shard: &Shard) {
    let name = |key: &String| {
        let node = network.nodes().find(|node| node.key() == key);
        node.map_or("?", |node| node.name()).to_owned()
    };
    let mut route = vec!["alice".to_owned()];
    route.extend(shard.route.iter().map(name));
    println!(
        "  {number:<5}  {:<23}  {:>14}  {:<12}  the same",
        route.join(" > "),
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

/// Groups digits by three: `2 000 000`.
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
    fn groups_digits_by_three() {
        for (number, text) in [(0, "0"), (12, "12"), (123, "123"), (1_234, "1 234")] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped(2_000_000), "2 000 000");
    }
}
