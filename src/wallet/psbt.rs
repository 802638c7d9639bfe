//! Partially signed transactions (BIP 174): funding, signing our inputs, finalizing.

use bdk_wallet::TxOrdering;
use bdk_wallet::miniscript::psbt::PsbtExt;
use bitcoin::secp256k1::{PublicKey, Secp256k1};
use bitcoin::{Psbt, Transaction, Witness, psbt};

use super::error::WalletError;
use super::on_chain::Wallet;
use super::spend::{Outputs, Spend};
use super::state::{LeasedCoin, State};

/// A request to fund a PSBT.
#[derive(Clone, Debug)]
pub struct PsbtOrder {
    /// The outputs, which must be [`Outputs::Exactly`]. If coins are given, exactly these are spent.
    pub spend: Spend,
    /// A PSBT with the inputs and outputs of `spend`, whose other fields are preserved.
    pub template: Option<Psbt>,
    /// The id under which the coins are leased.
    pub lease_id: [u8; 32],
    /// The duration of the leases, in seconds.
    pub lease_seconds: u64,
}

/// A PSBT with inputs for all its outputs.
#[derive(Clone, Debug)]
pub struct FundedPsbt {
    /// The funded PSBT.
    pub psbt: Psbt,
    /// The index of our change output, if there is one.
    pub change: Option<usize>,
    /// The leases of the coins that it spends.
    pub leases: Vec<LeasedCoin>,
}

impl Wallet {
    /// Selects coins for the outputs, adds change as the last output, and leases the coins.
    ///
    /// # Errors
    /// Those of [`Wallet::send`].
    pub fn fund_psbt(&self, order: &PsbtOrder) -> Result<FundedPsbt, WalletError> {
        let mut state = self.lock();
        let given = match &order.spend.outputs {
            Outputs::Exactly(outputs) => outputs.len(),
            Outputs::All(_) => return Err(WalletError::NoOutputs),
        };
        let template = order.template.as_ref();
        let mut psbt = state.prepare(&order.spend, |builder| {
            builder.ordering(TxOrdering::Untouched);
            if let Some(template) = template {
                builder.version(template.unsigned_tx.version.0);
                builder.nlocktime(template.unsigned_tx.lock_time);
            }
        })?;
        if let Some(template) = template {
            keep_template(&mut psbt, template);
        }
        self.save(&mut state)?;
        let leases = self.lease_inputs(&mut state, &psbt, order)?;
        let change = (psbt.unsigned_tx.output.len() > given).then_some(given);
        Ok(FundedPsbt {
            psbt,
            change,
            leases,
        })
    }

    /// Adds our signatures. Returns the indices of the signed inputs.
    ///
    /// # Errors
    /// [`WalletError::PsbtInput`] if an input has an invalid sighash type.
    pub fn sign_psbt_inputs(&self, psbt: &mut Psbt) -> Result<Vec<usize>, WalletError> {
        let state = self.lock();
        let signed = self.keys.sign(psbt, |coin| state.own_output(coin))?;
        Ok(signed.into_iter().map(|(index, _)| index).collect())
    }

    /// Adds our signatures as the last signer, finalizes all inputs and returns the transaction.
    ///
    /// # Errors
    /// [`WalletError::PsbtInput`] for an input that cannot be finalized.
    pub fn finalize_psbt(&self, psbt: &mut Psbt) -> Result<Transaction, WalletError> {
        self.sign_and_finalize(&self.lock(), psbt)?;
        let secp = Secp256k1::verification_only();
        for index in 0..psbt.inputs.len() {
            psbt.finalize_inp_mut(&secp, index).map_err(|error| {
                let reason = error.to_string();
                WalletError::PsbtInput { index, reason }
            })?;
        }
        // All inputs are final, so the transaction is complete.
        Ok(psbt.clone().extract_tx_unchecked_fee_rate())
    }

    /// Signs and finalizes our inputs. Other inputs are not changed.
    pub(super) fn sign_and_finalize(
        &self,
        state: &State,
        psbt: &mut Psbt,
    ) -> Result<(), WalletError> {
        let signed = self.keys.sign(psbt, |coin| state.own_output(coin))?;
        for (index, key) in signed {
            finalize_own(&mut psbt.inputs[index], &key);
        }
        Ok(())
    }

    fn lease_inputs(
        &self,
        state: &mut State,
        psbt: &Psbt,
        order: &PsbtOrder,
    ) -> Result<Vec<LeasedCoin>, WalletError> {
        let mut leases = Vec::new();
        for input in &psbt.unsigned_tx.input {
            let coin = input.previous_output;
            let (output, ..) = state.own_output(&coin).ok_or(WalletError::UnknownCoin)?;
            let lease = self.put_lease(state, coin, order.lease_id, order.lease_seconds);
            leases.push(LeasedCoin { lease, output });
        }
        Ok(leases)
    }
}

/// Finalizes an input of ours. BIP 174 requires the finalizer to remove all fields except for the UTXO, the
/// final scripts and unknown ones.
fn finalize_own(input: &mut psbt::Input, key: &PublicKey) {
    let Some(signature) = input.partial_sigs.get(&(*key).into()) else {
        return;
    };
    let witness = Witness::p2wpkh(signature, key);
    let found = std::mem::take(input);
    *input = psbt::Input {
        witness_utxo: found.witness_utxo,
        non_witness_utxo: found.non_witness_utxo,
        proprietary: found.proprietary,
        unknown: found.unknown,
        final_script_witness: Some(witness),
        ..psbt::Input::default()
    };
}

/// Copies the template's fields other than scripts and amounts: sequences, derivations, unknown fields.
fn keep_template(psbt: &mut Psbt, template: &Psbt) {
    for (output, given) in psbt.outputs.iter_mut().zip(&template.outputs) {
        output.combine(given.clone());
    }
    let inputs = psbt.unsigned_tx.input.iter_mut().zip(&mut psbt.inputs);
    for (input, more) in inputs {
        let mut given = template.unsigned_tx.input.iter().zip(&template.inputs);
        if let Some((given, given_more)) =
            given.find(|(given, _)| given.previous_output == input.previous_output)
        {
            input.sequence = given.sequence;
            more.sighash_type = given_more.sighash_type;
            more.combine(given_more.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::sighash::EcdsaSighashType;
    use bitcoin::{Amount, FeeRate, OutPoint, Sequence, TxIn, TxOut, absolute};

    use super::*;
    use crate::wallet::keys::is_final;
    use crate::wallet::test_chain::{TestChain, foreign_address, wallet_with};
    use lnd_api::layout::lnd_lease_id;

    fn order(sat: u64, coins: Vec<OutPoint>) -> PsbtOrder {
        let to = foreign_address().script_pubkey();
        let spend = Spend {
            outputs: Outputs::one(to, Amount::from_sat(sat)),
            fee_rate: FeeRate::from_sat_per_kwu(1_000),
            min_confs: 1,
            reserve: Amount::ZERO,
            coins,
        };
        PsbtOrder {
            spend,
            template: None,
            lease_id: lnd_lease_id(),
            lease_seconds: 600,
        }
    }

    #[test]
    fn funding_leases_the_coins_until_they_are_released() {
        let (chain, wallet, log) = wallet_with(&[100_000]);
        let funded = wallet.fund_psbt(&order(40_000, vec![])).unwrap();
        assert_eq!(funded.change, Some(1));
        assert_eq!(funded.psbt.unsigned_tx.output[0].value.to_sat(), 40_000);
        assert_eq!(funded.leases.len(), 1);
        let wallet = chain.reopen(&log);
        assert_eq!(wallet.leases(), funded.leases);
        assert!(wallet.fund_psbt(&order(40_000, vec![])).is_err());
        let coin = funded.leases[0].lease.coin;
        assert!(wallet.fund_psbt(&order(40_000, vec![coin])).is_err());
        wallet.end_lease(coin, lnd_lease_id()).unwrap();
        wallet.fund_psbt(&order(99_400, vec![coin])).unwrap();
    }

    #[test]
    fn change_is_none_without_a_change_output() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let funded = wallet.fund_psbt(&order(99_400, vec![])).unwrap();
        assert_eq!((funded.change, funded.psbt.outputs.len()), (None, 1));
    }

    #[test]
    fn finalized_psbt_is_a_valid_transaction() {
        let (mut chain, wallet, _) = wallet_with(&[50_000, 60_000]);
        let mut psbt = wallet.fund_psbt(&order(100_000, vec![])).unwrap().psbt;
        assert_eq!(wallet.sign_psbt_inputs(&mut psbt).unwrap(), [0, 1]);
        assert!(psbt.inputs.iter().all(|i| i.partial_sigs.len() == 1));
        assert!(!psbt.inputs.iter().any(is_final));
        let tx = wallet.finalize_psbt(&mut psbt).unwrap();
        assert!(psbt.inputs.iter().all(is_final));
        assert!(wallet.sign_psbt_inputs(&mut psbt).unwrap().is_empty());
        chain.check_p2wpkh_signatures(&tx);
        chain.mine(&wallet, vec![tx]);
        assert!(wallet.leases().is_empty());
        assert!(wallet.balance().total() < Amount::from_sat(10_000));
    }

    #[test]
    fn template_fields_are_preserved() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let coin = wallet.list_utxos(1)[0].outpoint;
        let mut order = order(40_000, vec![coin]);
        let script_pubkey = foreign_address().script_pubkey();
        let tx = Transaction {
            version: bitcoin::transaction::Version(2),
            lock_time: absolute::LockTime::from_consensus(77),
            input: vec![TxIn {
                previous_output: coin,
                sequence: Sequence(5),
                ..TxIn::default()
            }],
            output: vec![TxOut {
                value: Amount::from_sat(40_000),
                script_pubkey,
            }],
        };
        let mut template = Psbt::from_unsigned_tx(tx).unwrap();
        let kind = EcdsaSighashType::SinglePlusAnyoneCanPay;
        template.inputs[0].sighash_type = Some(kind.into());
        let raw = bitcoin::psbt::raw::Key {
            type_value: 0xf0,
            key: vec![1],
        };
        template.outputs[0].unknown.insert(raw.clone(), vec![2]);
        order.template = Some(template);
        let mut psbt = wallet.fund_psbt(&order).unwrap().psbt;
        assert_eq!(psbt.unsigned_tx.lock_time.to_consensus_u32(), 77);
        assert_eq!(psbt.unsigned_tx.input[0].sequence, Sequence(5));
        assert_eq!(psbt.outputs[0].unknown[&raw], [2]);
        let tx = wallet.finalize_psbt(&mut psbt).unwrap();
        let kind = kind as u8;
        assert_eq!(tx.input[0].witness.nth(0).unwrap().last(), Some(&kind));
    }

    #[test]
    fn foreign_inputs_are_not_signed() {
        let (_chain, wallet, _) = wallet_with(&[100_000]);
        let (other_chain, other) = wallet_with_another_seed();
        let mut psbt = wallet.fund_psbt(&order(40_000, vec![])).unwrap().psbt;
        let coin = other.list_utxos(1)[0].outpoint;
        psbt.unsigned_tx.input.push(TxIn {
            previous_output: coin,
            ..TxIn::default()
        });
        let output = other.lock().own_output(&coin).unwrap().0;
        psbt.inputs.push(psbt::Input {
            witness_utxo: Some(output),
            ..psbt::Input::default()
        });
        let error = wallet.finalize_psbt(&mut psbt.clone()).unwrap_err();
        assert!(error.to_string().starts_with("input 1: "), "{error}");
        assert_eq!(wallet.sign_psbt_inputs(&mut psbt).unwrap(), [0]);
        assert_eq!(other.sign_psbt_inputs(&mut psbt).unwrap(), [1]);
        let tx = wallet.finalize_psbt(&mut psbt).unwrap();
        assert!(tx.input.iter().all(|input| input.witness.len() == 2));
        other_chain.check_p2wpkh_signatures(&tx);
    }

    fn wallet_with_another_seed() -> (TestChain, Wallet) {
        let mut chain = TestChain::new();
        let wallet = chain.open_seed(2);
        let payment = chain.payment_to(&wallet, 20_000);
        chain.mine(&wallet, vec![payment]);
        (chain, wallet)
    }
}
