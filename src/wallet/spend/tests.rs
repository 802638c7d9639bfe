//! Payments from the wallet: fees, coin selection, reserve, and errors.

use super::*;
use crate::wallet::test_chain::{TestChain, foreign_address, wallet_with};

const RATE: FeeRate = FeeRate::from_sat_per_kwu(1_000);

fn order(outputs: Outputs) -> Spend {
    Spend {
        outputs,
        fee_rate: RATE,
        min_confs: 1,
        reserve: Amount::ZERO,
        coins: vec![],
    }
}

fn exactly(sat: u64) -> Spend {
    let to = foreign_address().script_pubkey();
    order(Outputs::one(to, Amount::from_sat(sat)))
}

fn all() -> Outputs {
    Outputs::All(foreign_address().script_pubkey())
}

fn paid(tx: &Transaction) -> Amount {
    let to = foreign_address().script_pubkey();
    tx.output
        .iter()
        .filter(|out| out.script_pubkey == to)
        .map(|out| out.value)
        .sum()
}

#[test]
fn send_pays_amount_and_fee_rate_with_valid_signatures() {
    let (mut chain, wallet, _) = wallet_with(&[60_000, 70_000]);
    let tx = wallet.send(&exactly(100_000)).unwrap();
    assert_eq!(paid(&tx), Amount::from_sat(100_000));
    let coins = chain.outputs_spent_by(&tx);
    let fee = coins.iter().map(|coin| coin.value).sum::<Amount>()
        - tx.output.iter().map(|out| out.value).sum::<Amount>();
    let rate = fee / tx.weight();
    let allowed = RATE.to_sat_per_kwu()..=RATE.to_sat_per_kwu() * 11 / 10;
    assert!(allowed.contains(&rate.to_sat_per_kwu()), "{rate:?}");
    chain.check_p2wpkh_signatures(&tx);
    chain.mine(&wallet, vec![tx]);
    assert_eq!(wallet.balance().confirmed, Amount::from_sat(30_000) - fee);
}

#[test]
fn coins_are_not_spent_twice_and_unconfirmed_change_only_on_request() {
    let (_chain, wallet, _) = wallet_with(&[100_000]);
    let first = wallet.send(&exactly(20_000)).unwrap();
    let error = wallet.send(&exactly(20_000)).unwrap_err();
    assert!(
        matches!(error, WalletError::InsufficientFunds { .. }),
        "{error}"
    );
    assert!(wallet.balance().unconfirmed > Amount::from_sat(70_000));
    let second = wallet
        .send(&Spend {
            min_confs: 0,
            ..exactly(20_000)
        })
        .unwrap();
    assert_eq!(second.input[0].previous_output.txid, first.compute_txid());
    let error = wallet.cancel(first.compute_txid()).unwrap_err();
    assert!(matches!(error, WalletError::ChangeSpent(_)), "{error}");
}

#[test]
fn sending_all_leaves_exactly_the_reserve() {
    let (_chain, wallet, _) = wallet_with(&[60_000, 70_000]);
    let tx = wallet.send(&order(all())).unwrap();
    assert_eq!((tx.input.len(), tx.output.len()), (2, 1));
    wallet.cancel(tx.compute_txid()).unwrap();

    let reserve = Amount::from_sat(30_000);
    let tx = wallet
        .send(&Spend {
            reserve,
            ..order(all())
        })
        .unwrap();
    assert_eq!(tx.output.len(), 2);
    assert_eq!(wallet.balance().total(), reserve);
    assert!(paid(&tx) < Amount::from_sat(100_000) && paid(&tx) > Amount::from_sat(98_000));
}

#[test]
fn sending_all_fails_if_only_the_reserve_is_left() {
    let (_chain, wallet, _) = wallet_with(&[30_300]);
    let spend = Spend {
        reserve: Amount::from_sat(30_000),
        ..order(all())
    };
    let error = wallet.send(&spend).unwrap_err();
    assert!(
        matches!(error, WalletError::InsufficientFunds { .. }),
        "{error}"
    );
    assert_eq!(wallet.balance().confirmed, Amount::from_sat(30_300));
}

#[test]
fn the_anchor_reserve_is_kept() {
    let (_chain, wallet, _) = wallet_with(&[100_000]);
    let reserve = Amount::from_sat(10_000);
    let error = wallet
        .fund(&Spend {
            reserve,
            ..exactly(95_000)
        })
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("reserved wallet balance invalidated"),
        "{error}"
    );
    wallet
        .fund(&Spend {
            reserve,
            ..exactly(85_000)
        })
        .unwrap();
}

#[test]
fn confirmed_coin_remains_as_reserve_across_payments() {
    let (_chain, wallet, _) = wallet_with(&[100_000, 20_000, 100_000]);
    let reserve = Amount::from_sat(15_000);
    let spend = Spend {
        reserve,
        ..exactly(90_000)
    };
    for _ in 0..2 {
        wallet.fund(&spend).unwrap();
        assert!(wallet.usable() >= Amount::from_sat(20_000));
    }
    // Unconfirmed change does not count towards the reserve.
    let error = wallet.send(&Spend {
        min_confs: 0,
        ..spend
    });
    assert!(error.is_err(), "{error:?}");
    assert_eq!(wallet.usable(), Amount::from_sat(20_000));
}

#[test]
fn cancelled_transaction_frees_its_coins_and_can_be_recreated() {
    let (_chain, wallet, _) = wallet_with(&[100_000]);
    for _ in 0..3 {
        let tx = wallet.send(&exactly(50_000)).unwrap();
        wallet.cancel(tx.compute_txid()).unwrap();
        assert_eq!(wallet.balance().confirmed, Amount::from_sat(100_000));
        let error = wallet.cancel(tx.compute_txid()).unwrap_err();
        assert!(matches!(error, WalletError::NotPending(_)), "{error}");
    }
    wallet.send(&exactly(50_000)).unwrap();
    assert_eq!(wallet.balance().confirmed, Amount::ZERO);
}

#[test]
fn funding_is_held_across_restarts_until_released() {
    let (chain, wallet, log) = wallet_with(&[200_000, 200_000]);
    let sent = wallet.send(&exactly(50_000)).unwrap();
    let funding = wallet.fund(&exactly(150_000)).unwrap();
    let txid = funding.compute_txid();
    drop(wallet);

    let wallet = chain.reopen(&log);
    assert_eq!(wallet.held(), [txid]);
    assert_eq!(wallet.to_rebroadcast(), std::slice::from_ref(&sent));
    wallet.release(txid).unwrap();

    let wallet = chain.reopen(&log);
    assert!(wallet.held().is_empty());
    assert_eq!(wallet.to_rebroadcast().len(), 2);
    wallet.cancel(txid).unwrap();
    assert_eq!(chain.reopen(&log).to_rebroadcast(), [sent]);
}

#[test]
fn confirmed_transaction_is_neither_rebroadcast_nor_cancelled() {
    let (mut chain, wallet, _) = wallet_with(&[100_000]);
    let tx = wallet.send(&exactly(50_000)).unwrap();
    chain.mine(&wallet, vec![tx.clone()]);
    assert!(wallet.to_rebroadcast().is_empty());
    let error = wallet.cancel(tx.compute_txid()).unwrap_err();
    assert!(matches!(error, WalletError::NotPending(_)), "{error}");
}

#[test]
fn errors_name_the_problem() {
    let (_chain, wallet, _) = wallet_with(&[100_000]);
    let error = wallet.send(&exactly(1_000_000)).unwrap_err().to_string();
    let lnd = "insufficient funds available to construct transaction";
    assert!(
        error.starts_with(lnd) && error.contains("have 100000 sat"),
        "{error}"
    );
    let error = wallet.fund(&exactly(1_000_000)).unwrap_err().to_string();
    assert!(
        error.starts_with("not enough witness outputs to create funding tr"),
        "{error}"
    );
    assert!(
        error.contains("only have 0.00100000 BTC available"),
        "{error}"
    );
    let error = wallet.send(&exactly(100)).unwrap_err().to_string();
    assert!(
        error.contains("100 sat is below the dust limit of 294 sat"),
        "{error}"
    );
    for rate in [0, 249, 1_250_001, u64::MAX] {
        let fee_rate = FeeRate::from_sat_per_kwu(rate);
        let error = wallet
            .send(&Spend {
                fee_rate,
                ..exactly(1_000)
            })
            .unwrap_err();
        assert!(matches!(error, WalletError::FeeRate { .. }), "{error}");
    }
    let error = wallet.send(&exactly(u64::MAX)).unwrap_err();
    assert!(
        matches!(error, WalletError::InsufficientFunds { .. }),
        "{error}"
    );
}

#[test]
fn leased_coin_is_not_spent() {
    let (_chain, wallet, _) = wallet_with(&[100_000]);
    let coin = wallet.list_utxos(1)[0].outpoint;
    wallet.lease(coin, [1; 32], 600, Amount::ZERO).unwrap();
    let coins = vec![coin];
    for spend in [
        exactly(1_000),
        order(all()),
        Spend {
            coins,
            ..exactly(1_000)
        },
    ] {
        assert!(wallet.send(&spend).is_err());
        assert!(wallet.fund(&spend).is_err());
    }
    wallet.end_lease(coin, [1; 32]).unwrap();
    wallet.send(&exactly(1_000)).unwrap();
}

#[test]
fn several_outputs_are_paid_from_the_selected_coins() {
    let (chain, wallet, _) = wallet_with(&[50_000, 60_000, 70_000]);
    let chosen: Vec<_> = wallet.list_utxos(1)[..2]
        .iter()
        .map(|c| c.outpoint)
        .collect();
    let to = foreign_address().script_pubkey();
    let output = |sat| TxOut {
        value: Amount::from_sat(sat),
        script_pubkey: to.clone(),
    };
    let coins = chosen.clone();
    let spend = Spend {
        coins,
        ..order(Outputs::Exactly(vec![output(1_000), output(2_000)]))
    };
    let tx = wallet.send(&spend).unwrap();
    assert_eq!(paid(&tx), Amount::from_sat(3_000));
    let mut spent: Vec<_> = tx.input.iter().map(|i| i.previous_output).collect();
    let mut expected = chosen.clone();
    spent.sort();
    expected.sort();
    assert_eq!(spent, expected);
    chain.check_p2wpkh_signatures(&tx);
    let error = wallet.send(&spend).unwrap_err();
    assert!(matches!(error, WalletError::CoinNotFree(_)), "{error}");
    let nothing = order(Outputs::Exactly(vec![]));
    let error = wallet.send(&nothing).unwrap_err();
    assert!(matches!(error, WalletError::NoOutputs), "{error}");
    let too_much = order(Outputs::Exactly(vec![output(u64::MAX), output(u64::MAX)]));
    let error = wallet.send(&too_much).unwrap_err();
    assert!(
        matches!(error, WalletError::InsufficientFunds { .. }),
        "{error}"
    );
}

#[test]
fn estimate_matches_the_payment_and_changes_nothing() {
    let (chain, wallet, _) = wallet_with(&[100_000]);
    let before = wallet.balance();
    let first = wallet.estimate(&exactly(40_000)).unwrap();
    assert_eq!(wallet.estimate(&exactly(40_000)).unwrap(), first);
    assert_eq!(wallet.balance(), before);
    let tx = wallet.send(&exactly(40_000)).unwrap();
    let coins: Amount = chain.outputs_spent_by(&tx).iter().map(|o| o.value).sum();
    let left: Amount = tx.output.iter().map(|output| output.value).sum();
    assert_eq!(coins - left, first.fee);
    assert_eq!(first.coins, [tx.input[0].previous_output]);
}

#[test]
fn mined_coins_are_spent_only_when_mature() {
    let mut chain = TestChain::new();
    let (wallet, _) = chain.open_new();
    let script = wallet.new_address().unwrap().script_pubkey();
    chain.mine_to(&wallet, script, 1_000_000);
    (0..98).for_each(|_| chain.mine(&wallet, vec![]));
    assert!(wallet.send(&exactly(1_000)).is_err());
    chain.mine(&wallet, vec![]);
    wallet.send(&exactly(1_000)).unwrap();
}
