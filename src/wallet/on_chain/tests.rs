//! Opening a stored wallet, following the chain, and listing coins.

use super::*;
use crate::wallet::test_chain::{MemoryLog, TestChain, master, wallet_with};

#[test]
fn reopened_wallet_keeps_coins_and_does_not_reuse_addresses() {
    let (mut chain, wallet, log) = wallet_with(&[10_000, 20_000]);
    let given = wallet.new_address().unwrap();
    (0..5).for_each(|_| chain.mine(&wallet, vec![]));
    let (balance, coins) = (wallet.balance(), wallet.list_utxos(0).len());
    assert_eq!(balance.total(), Amount::from_sat(30_000));
    wallet.flush().unwrap();
    let best = wallet.best_block();
    drop(wallet);

    let wallet = chain.reopen(&log);
    assert_eq!(wallet.balance(), balance);
    assert_eq!(wallet.list_utxos(0).len(), coins);
    assert_eq!(wallet.best_block(), best);
    assert_ne!(wallet.new_address().unwrap(), given);
}

#[test]
fn wallet_catches_up_from_an_earlier_block_after_a_crash() {
    let (mut chain, wallet, log) = wallet_with(&[10_000]);
    (0..5).for_each(|_| chain.mine(&wallet, vec![]));
    let lost = wallet.best_block();
    let again = chain.reopen(&log);
    assert!(again.best_block().height < lost.height);
    assert_eq!(again.list_utxos(1).len(), 1);
    chain.replay(&again, again.best_block().height + 1);
    assert_eq!(again.best_block(), lost);
}

#[test]
fn empty_blocks_share_a_record() {
    let mut chain = TestChain::new();
    let (wallet, log) = chain.open_new();
    let before = log.len();
    (0..120).for_each(|_| chain.mine(&wallet, vec![]));
    assert_eq!(log.len() - before, 120 / BLOCKS_PER_RECORD);
}

#[test]
fn long_log_is_compacted_without_loss() {
    let (chain, wallet, log) = wallet_with(&[10_000]);
    for _ in 0..600 {
        wallet.new_address().unwrap();
    }
    let next = chain.reopen(&log);
    assert!(log.len() < 5, "{}", log.len());
    assert_eq!(next.balance(), wallet.balance());
    assert_eq!(next.new_address().unwrap(), wallet.new_address().unwrap());
}

#[test]
fn reorg_removes_a_coin_until_it_is_mined_again() {
    let (mut chain, wallet, log) = wallet_with(&[]);
    let payment = chain.payment_to(&wallet, 50_000);
    chain.mine(&wallet, vec![payment.clone()]);
    chain.mine(&wallet, vec![]);
    assert_eq!(wallet.balance().confirmed, Amount::from_sat(50_000));

    chain.reorg(&wallet, 2, vec![vec![], vec![], vec![]]);
    assert_eq!(wallet.best_block(), chain.best());
    assert_eq!(wallet.balance().confirmed, Amount::ZERO);
    chain.mine(&wallet, vec![payment]);
    assert_eq!(wallet.balance().confirmed, Amount::from_sat(50_000));
    wallet.flush().unwrap();
    let again = chain.reopen(&log);
    assert_eq!(again.balance(), wallet.balance());
    assert_eq!(again.best_block(), chain.best());
}

#[test]
fn reorg_below_the_birthday_is_followed() {
    let mut chain = TestChain::new();
    let other = chain.open_new().0;
    (0..5).for_each(|_| chain.mine(&other, vec![]));
    for depth in 1..4 {
        let (wallet, _) = chain.open_new();
        let payment = chain.payment_to(&wallet, 50_000);
        let mut blocks = vec![vec![]; depth + 1];
        blocks[depth] = vec![payment];
        chain.reorg(&wallet, depth, blocks);
        assert_eq!(wallet.best_block(), chain.best(), "depth {depth}");
        assert_eq!(wallet.balance().confirmed, Amount::from_sat(50_000));
    }
}

#[test]
fn rejects_another_seed_or_network_without_writing() {
    let (chain, wallet, log) = wallet_with(&[10_000]);
    drop(wallet);
    let records = log.len();
    let open = |seed, network| {
        Wallet::open(
            &master(seed),
            network,
            chain.best(),
            log.clone(),
            log.clone(),
        )
        .map(|_| ())
        .unwrap_err()
    };
    let error = open(9, Network::Regtest);
    assert!(matches!(error, WalletError::OtherSeed), "{error}");
    for network in [Network::Bitcoin, Network::Signet] {
        let error = open(1, network);
        assert!(matches!(error, WalletError::OtherNetwork { .. }), "{error}");
    }
    assert_eq!(log.len(), records);
}

#[test]
fn damaged_log_is_an_error() {
    let chain = TestChain::new();
    for record in ["", "garbage", "{}", "[1]", "{\"bdk\":7}"] {
        let log = Arc::new(MemoryLog::default());
        log.append(record.into());
        let best = chain.best();
        let opened = Wallet::open(&master(1), Network::Regtest, best, log.clone(), log);
        let error = opened.map(|_| ()).unwrap_err();
        assert!(
            matches!(error, WalletError::Damaged(_)),
            "{record}: {error}"
        );
    }
}

#[test]
fn coins_show_address_and_confirmations() {
    let (mut chain, wallet, _) = wallet_with(&[]);
    let payment = chain.payment_to(&wallet, 50_000);
    chain.mine(&wallet, vec![payment.clone()]);
    chain.mine(&wallet, vec![]);
    let coins = wallet.list_utxos(2);
    assert_eq!(coins.len(), 1);
    assert_eq!(coins[0].confirmations, 2);
    assert_eq!(coins[0].outpoint.txid, payment.compute_txid());
    assert!(wallet.is_mine(&coins[0].address.script_pubkey()) && !coins[0].is_change);
    assert!(wallet.list_utxos(3).is_empty());
}
