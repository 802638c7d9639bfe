//! Recognizes inputs that can spend a funding output.

use bitcoin::opcodes::all::{OP_CHECKMULTISIG, OP_PUSHNUM_2};
use bitcoin::{ScriptBuf, TxIn};

/// The opcode that pushes the 33 bytes of a public key.
const KEY_PUSH: u8 = 33;
const KEY_LEN: usize = 1 + 33;
/// BOLT 3: `2 <pubkey1> <pubkey2> 2 OP_CHECKMULTISIG`.
const SCRIPT_LEN: usize = 1 + 2 * KEY_LEN + 2;

/// Returns the script of the output that this input spends, if its witness has the form of one that
/// spends a funding output (BOLT 3).
///
/// The outpoint alone proves nothing: peers choose it, and may name an output of a commitment.
pub fn funding_script(input: &TxIn) -> Option<ScriptBuf> {
    let script = input.witness.last()?;
    let [two, keys @ .., two_again, check] = script else {
        return None;
    };
    let is_multisig = script.len() == SCRIPT_LEN
        && keys.chunks(KEY_LEN).all(|key| key[0] == KEY_PUSH)
        && [*two, *two_again] == [OP_PUSHNUM_2.to_u8(); 2]
        && *check == OP_CHECKMULTISIG.to_u8();
    is_multisig.then(|| ScriptBuf::from(script.to_vec()).to_p2wsh())
}

#[cfg(test)]
pub mod test_data {
    use bitcoin::{ScriptBuf, Witness};

    use super::*;

    /// Returns the redeem script of a funding output; `key` selects its two keys.
    pub fn redeem_script(key: u8) -> ScriptBuf {
        let push = [&[KEY_PUSH, 2][..], &[key; 32]].concat();
        let multisig = [&[OP_PUSHNUM_2.to_u8()][..], &push, &push].concat();
        let end = [OP_PUSHNUM_2.to_u8(), OP_CHECKMULTISIG.to_u8()];
        ScriptBuf::from([multisig, end.to_vec()].concat())
    }

    /// Returns a witness that spends the output of [`redeem_script`], with dummy signatures.
    pub fn witness(key: u8) -> Witness {
        let script = redeem_script(key);
        Witness::from_slice(&[&[][..], &[1; 71], &[2; 71], script.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::Witness;

    use super::test_data::{redeem_script, witness};
    use super::*;

    fn script_of(witness: Witness) -> Option<ScriptBuf> {
        let input = TxIn {
            witness,
            ..TxIn::default()
        };
        funding_script(&input)
    }

    #[test]
    fn recognizes_only_two_of_two_multisig_spends() {
        let script = redeem_script(3);
        assert_eq!(script.len(), SCRIPT_LEN);
        assert_eq!(script_of(witness(3)), Some(script.to_p2wsh()));
        for changed in [0, 1, 35, 69, 70] {
            let mut bytes = script.to_bytes();
            bytes[changed] ^= 1;
            assert_eq!(script_of(Witness::from_slice(&[bytes])), None, "{changed}");
        }
        let to_local = Witness::from_slice(&[vec![1; 71], vec![1], vec![0x63; 77]]);
        for other in [to_local, Witness::new(), Witness::from_slice(&[[2; 33]])] {
            assert_eq!(script_of(other), None);
        }
    }
}
