//! Labels of transactions.

use bitcoin::Txid;

use super::error::WalletError;
use super::on_chain::Wallet;

impl Wallet {
    /// Sets the label of a transaction.
    ///
    /// # Errors
    /// [`WalletError::UnknownTransaction`]; [`WalletError::LabelledAlready`] if it has a label and
    /// `overwrite` is false.
    pub fn label(&self, txid: Txid, label: &str, overwrite: bool) -> Result<(), WalletError> {
        let mut state = self.lock();
        if state.bdk.get_tx(txid).is_none() {
            return Err(WalletError::UnknownTransaction);
        }
        if !overwrite && state.labels.contains_key(&txid) {
            return Err(WalletError::LabelledAlready);
        }
        state.labels.insert(txid, label.to_owned());
        self.notes.put_label(txid, label);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;
    use crate::wallet::test_chain::wallet_with;

    #[test]
    fn label_persists_and_is_replaced_only_with_overwrite() {
        let (chain, wallet, log) = wallet_with(&[100_000]);
        let txid = wallet.list_utxos(1)[0].outpoint.txid;
        wallet.label(txid, "rent", false).unwrap();
        let error = wallet.label(txid, "tea", false).unwrap_err();
        assert_eq!(error.to_string(), "transaction already labelled");
        assert_eq!(chain.reopen(&log).transaction(txid).unwrap().label, "rent");
        wallet.label(txid, "tea", true).unwrap();
        assert_eq!(chain.reopen(&log).transaction(txid).unwrap().label, "tea");
        let error = wallet.label(Txid::all_zeros(), "x", true).unwrap_err();
        assert!(matches!(error, WalletError::UnknownTransaction), "{error}");
    }
}
