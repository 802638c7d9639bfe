//! Which coins LDK's claims may use, and how long they stay reserved.

use std::sync::Arc;

use bitcoin::{Amount, FeeRate, TxIn, TxOut, absolute, transaction};

use super::*;
use crate::wallet::state::{BLOCKS_PER_RECORD, CLAIM_BLOCKS};
use crate::wallet::test_chain::{TestChain, foreign_address, wallet_with};
use crate::wallet::{Outputs, Spend};

const URGENT: Claim = Claim {
    id: [1; 32],
    urgent: true,
};
const OTHER: Claim = Claim {
    id: [2; 32],
    urgent: true,
};
const NOT_URGENT: Claim = Claim {
    id: [3; 32],
    urgent: false,
};

/// Signs a transaction in which the claim spends this coin.
fn use_coin(wallet: &Wallet, claim: Claim, coin: &Utxo) {
    let tx = Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: coin.outpoint,
            ..TxIn::default()
        }],
        output: vec![TxOut {
            value: Amount::from_sat(1_000),
            script_pubkey: foreign_address().script_pubkey(),
        }],
    };
    let mut psbt = Psbt::from_unsigned_tx(tx).unwrap();
    psbt.inputs[0].witness_utxo = Some(coin.output.clone());
    wallet.sign_for(claim, psbt).unwrap();
}

fn payment(sat: u64) -> Spend {
    let to = foreign_address().script_pubkey();
    Spend {
        outputs: Outputs::one(to, Amount::from_sat(sat)),
        fee_rate: FeeRate::from_sat_per_kwu(1_000),
        min_confs: 1,
        reserve: Amount::ZERO,
        coins: vec![],
    }
}

#[test]
fn claimed_coins_stay_reserved_across_restarts() {
    let (chain, wallet, log) = wallet_with(&[50_000]);
    let coins = wallet.coins_for(URGENT, false);
    use_coin(&wallet, URGENT, &coins[0]);
    for wallet in [wallet, chain.reopen(&log)] {
        assert_eq!(wallet.coins_for(URGENT, false), coins);
        assert!(wallet.coins_for(OTHER, false).is_empty());
        assert!(wallet.send(&payment(1_000)).is_err());
        assert_eq!(wallet.usable(), Amount::ZERO);
        assert!(wallet.is_claiming(URGENT.id) && !wallet.is_claiming(OTHER.id));
    }
}

#[test]
fn urgent_claim_takes_coins_of_a_claim_that_is_not_urgent() {
    let (_chain, wallet, _) = wallet_with(&[50_000]);
    let coin = &wallet.coins_for(NOT_URGENT, false)[0];
    use_coin(&wallet, NOT_URGENT, coin);
    assert!(wallet.coins_for(URGENT, false).is_empty());
    assert_eq!(wallet.coins_for(URGENT, true).len(), 1);
    use_coin(&wallet, URGENT, coin);
    assert!(wallet.coins_for(NOT_URGENT, true).is_empty());
    assert!(wallet.coins_for(OTHER, true).is_empty());
}

#[test]
fn unused_claim_releases_its_coin_after_a_day() {
    let (mut chain, wallet, log) = wallet_with(&[50_000]);
    use_coin(&wallet, URGENT, &wallet.coins_for(URGENT, false)[0]);
    for _ in 1..CLAIM_BLOCKS {
        chain.mine(&wallet, vec![]);
    }
    assert!(wallet.send(&payment(1_000)).is_err());
    chain.mine(&wallet, vec![]);
    assert_eq!(chain.reopen(&log).usable(), Amount::from_sat(50_000));
    wallet.send(&payment(1_000)).unwrap();
}

#[test]
fn repeating_a_claim_does_not_fill_the_log() {
    let (mut chain, wallet, log): (TestChain, _, Arc<_>) = wallet_with(&[50_000]);
    let coin = &wallet.coins_for(URGENT, false)[0];
    use_coin(&wallet, URGENT, coin);
    let before = log.len();
    for _ in 0..20 {
        use_coin(&wallet, URGENT, coin);
    }
    assert_eq!(log.len(), before);
    for _ in 0..BLOCKS_PER_RECORD {
        chain.mine(&wallet, vec![]);
    }
    let before = log.len();
    use_coin(&wallet, URGENT, coin);
    assert_eq!(log.len(), before + 1);
}
