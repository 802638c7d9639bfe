//! Addresses against the BIP 84 test vectors, and which addresses are handed out again.

use std::sync::Arc;

use bitcoin::Network;
use bitcoin::bip32::Xpriv;
use lightning::chain::BestBlock;

use super::*;
use crate::wallet::test_chain::{MemoryLog, wallet_with};

#[test]
fn addresses_match_the_bip_84_test_vectors() {
    // BIP 84: two receiving addresses and one change address.
    let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                 abandon abandon about";
    let seed = bip39::Mnemonic::parse(words).unwrap().to_seed("");
    let master = Xpriv::new_master(Network::Bitcoin, &seed).unwrap();
    let genesis = bitcoin::constants::genesis_block(Network::Bitcoin).block_hash();
    let birthday = BestBlock::new(genesis, 0);
    let log = Arc::new(MemoryLog::default());
    let wallet = Wallet::open(&master, Network::Bitcoin, birthday, log.clone(), log).unwrap();
    let first = wallet.new_address().unwrap().to_string();
    assert_eq!(first, "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu");
    let second = wallet.new_address().unwrap().to_string();
    assert_eq!(second, "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g");
    let change = Address::from_script(&wallet.change_script().unwrap(), Network::Bitcoin);
    assert_eq!(
        change.unwrap().to_string(),
        "bc1q8c6fshw2dlwun7ekn9qwf37cu2rn755upcp6el"
    );
}

#[test]
fn rejects_malformed_addresses_and_those_of_other_networks() {
    let (_chain, wallet, _) = wallet_with(&[]);
    let own = wallet.new_address().unwrap();
    assert_eq!(wallet.parse_address(&own.to_string()).unwrap(), own);
    let mainnet = "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu";
    let error = wallet.parse_address(mainnet).unwrap_err().to_string();
    let lnd = format!("address: {mainnet} is not valid for this network: regtest");
    assert_eq!(error, lnd);
    for garbage in [
        "",
        "bcrt1qqqq",
        "hello",
        "lnbcrt1",
        "1BoatSLRHtKNngkdXEeobR76b53LETtpy!",
    ] {
        let error = wallet.parse_address(garbage).unwrap_err();
        assert!(
            matches!(error, WalletError::BadAddress { .. }),
            "{garbage}: {error}"
        );
    }
}

#[test]
fn own_address_is_reserved_until_it_is_paid() {
    let (mut chain, wallet, log) = wallet_with(&[]);
    let given = wallet.new_address().unwrap();
    let (index, own) = wallet.own_address(None).unwrap();
    assert_ne!(own, given);
    assert_eq!(
        wallet.own_address(Some(index)).unwrap(),
        (index, own.clone())
    );
    assert_eq!(wallet.unused_address().unwrap(), given);
    drop(wallet);

    let wallet = chain.reopen(&log);
    assert_eq!(
        wallet.own_address(Some(index)).unwrap(),
        (index, own.clone())
    );
    let payment = chain.payment_at(&own, 50_000);
    chain.mine(&wallet, vec![payment]);
    let (next, other) = wallet.own_address(Some(index)).unwrap();
    assert!(next != index && other != own && other != given);
    assert_eq!(wallet.unused_address().unwrap(), given);
}
