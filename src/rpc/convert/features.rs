//! Feature bits with lnd's names.

use std::collections::BTreeMap;

use lnd_api::proto::lnrpc::Feature;

/// Features by bit number.
pub(in crate::rpc) type Features = BTreeMap<u32, Feature>;

/// Feature names by the even bit of each pair: lnd's names for the features that lnd knows, BOLT 9's
/// for the others.
const NAMES: [(u32, &str); 29] = [
    (0, "data-loss-protect"),
    (2, "initial-routing-sync"),
    (4, "upfront-shutdown-script"),
    (6, "gossip-queries"),
    (8, "tlv-onion"),
    (10, "ext-gossip-queries"),
    (12, "static-remote-key"),
    (14, "payment-addr"),
    (16, "multi-path-payments"),
    (18, "wumbo-channels"),
    (20, "anchor-commitments"),
    (22, "anchors-zero-fee-htlc-tx"),
    (24, "route-blinding"),
    (26, "shutdown-any-segwit"),
    (28, "dual-fund"),
    (30, "amp"),
    (34, "quiescence"),
    (36, "attribution-data"),
    (38, "onion-messages"),
    (40, "zero-fee-commitments"),
    (42, "provide-storage"),
    (44, "explicit-commitment-type"),
    (46, "scid-alias"),
    (48, "payment-metadata"),
    (50, "zero-conf"),
    (54, "keysend"),
    (60, "simple-close"),
    (62, "splice"),
    (2022, "script-enforced-lease"),
];

/// Converts bit numbers to lnd's map of features.
pub(in crate::rpc) fn features(bits: impl IntoIterator<Item = u32>) -> Features {
    bits.into_iter().map(|bit| (bit, feature(bit))).collect()
}

fn feature(bit: u32) -> Feature {
    let pair = bit & !1;
    let name = NAMES.iter().find(|(known, _)| *known == pair);
    Feature {
        name: name.map_or("unknown", |(_, name)| name).to_owned(),
        is_required: bit == pair,
        is_known: name.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_lnd() {
        let shown = features([0, 14, 15, 23, 30, 31, 2023, 4001]);
        let expected = [
            (0, "data-loss-protect", true, true),
            (14, "payment-addr", true, true),
            (15, "payment-addr", false, true),
            (23, "anchors-zero-fee-htlc-tx", false, true),
            (30, "amp", true, true),
            (31, "amp", false, true),
            (2023, "script-enforced-lease", false, true),
            (4001, "unknown", false, false),
        ];
        for (bit, name, is_required, is_known) in expected {
            let feature = Feature {
                name: name.to_owned(),
                is_required,
                is_known,
            };
            assert_eq!(shown.get(&bit), Some(&feature), "bit {bit}");
        }
    }
}
