//! bitcoind as block source for lightning-block-sync, and look-ups of unspent outputs.

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::{Amount, Block, BlockHash, OutPoint, ScriptBuf, TxOut, Txid};
use lightning_block_sync::http::JsonResponse;
use lightning_block_sync::{AsyncBlockSourceResult, BlockData, BlockHeaderData, BlockSource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bitcoind::Bitcoind;
use super::error::ChainError;

/// bitcoind's error code for an unknown block (`RPC_INVALID_ADDRESS_OR_KEY`).
const CODE_NOT_FOUND: i64 = -5;

/// bitcoind's error code for a pruned block (`RPC_MISC_ERROR`), and the message that tells it from other
/// errors with this code.
const CODE_MISC: i64 = -1;
const PRUNED: &str = "pruned data";

/// An unspent output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnspentOutput {
    /// The value and script.
    pub output: TxOut,
    /// The number of confirmations; 0 in the mempool.
    pub confirmations: u32,
}

/// The fields of `getblock` with verbosity 1 that are needed.
#[derive(Deserialize)]
struct BlockIds {
    tx: Vec<Txid>,
}

/// The fields of `gettxout` that are needed.
#[derive(Deserialize)]
struct TxOutAnswer {
    confirmations: u32,
    /// In BTC.
    value: f64,
    #[serde(rename = "scriptPubKey")]
    script: ScriptAnswer,
}

#[derive(Deserialize)]
struct ScriptAnswer {
    hex: ScriptBuf,
}

impl Bitcoind {
    /// Returns the header of a block, in bitcoind's best chain or stale; `None` if bitcoind does not know
    /// it.
    pub(super) async fn find_header(
        &self,
        hash: &BlockHash,
    ) -> Result<Option<BlockHeaderData>, ChainError> {
        match self.header(hash).await {
            Ok(header) => Ok(Some(header)),
            Err(ChainError::Rpc { code, .. }) if code == CODE_NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn header(&self, hash: &BlockHash) -> Result<BlockHeaderData, ChainError> {
        let value: Value = self.call("getblockheader", &[json!(hash)]).await?;
        let header: Result<BlockHeaderData, std::io::Error> = JsonResponse(value).try_into();
        header.map_err(|e| self.bad_answer("getblockheader", &e.to_string()))
    }

    pub(super) fn unknown_block(&self, hash: BlockHash, height: Option<u32>) -> ChainError {
        let (address, height) = (self.address(), height.unwrap_or_default());
        ChainError::UnknownBlock {
            address,
            hash,
            height,
        }
    }

    async fn block(&self, hash: &BlockHash) -> Result<Block, ChainError> {
        let hex: Result<String, _> = self.call("getblock", &[json!(hash), json!(0)]).await;
        let hex = hex.map_err(|error| match error {
            ChainError::Rpc { code, message, .. }
                if code == CODE_MISC && message.contains(PRUNED) =>
            {
                let (address, hash) = (self.address(), *hash);
                ChainError::BlockPruned { address, hash }
            }
            other => other,
        })?;
        deserialize_hex(&hex).map_err(|e| self.bad_answer("getblock", &e.to_string()))
    }

    /// Returns the ids of the block's transactions, in block order.
    pub(super) async fn block_txids(&self, hash: &BlockHash) -> Result<Vec<Txid>, ChainError> {
        let block: BlockIds = self.call("getblock", &[json!(hash), json!(1)]).await?;
        Ok(block.tx)
    }

    /// Returns this output if it is confirmed and no confirmed transaction spends it. With `with_mempool`,
    /// outputs and spends in the mempool count as well.
    ///
    /// # Errors
    /// If bitcoind is unavailable or sends an unexpected response.
    pub async fn unspent_output(
        &self,
        outpoint: &OutPoint,
        with_mempool: bool,
    ) -> Result<Option<UnspentOutput>, ChainError> {
        const METHOD: &str = "gettxout";
        let params = [
            json!(outpoint.txid),
            json!(outpoint.vout),
            json!(with_mempool),
        ];
        let Some(answer) = self.call::<Option<TxOutAnswer>>(METHOD, &params).await? else {
            return Ok(None);
        };
        let value = Amount::from_btc(answer.value);
        let value = value.map_err(|error| self.bad_answer(METHOD, &error.to_string()))?;
        Ok(Some(UnspentOutput {
            output: TxOut {
                value,
                script_pubkey: answer.script.hex,
            },
            confirmations: answer.confirmations,
        }))
    }
}

impl BlockSource for Bitcoind {
    fn get_header<'a>(
        &'a self,
        hash: &'a BlockHash,
        height: Option<u32>,
    ) -> AsyncBlockSourceResult<'a, BlockHeaderData> {
        Box::pin(async move {
            let found = self.find_header(hash).await?;
            Ok(found.ok_or_else(|| self.unknown_block(*hash, height))?)
        })
    }

    fn get_block<'a>(&'a self, hash: &'a BlockHash) -> AsyncBlockSourceResult<'a, BlockData> {
        Box::pin(async move { Ok(BlockData::FullBlock(self.block(hash).await?)) })
    }

    /// Also checks the network: another bitcoind may be running at the address by now.
    fn get_best_block(&self) -> AsyncBlockSourceResult<'_, (BlockHash, Option<u32>)> {
        Box::pin(async move {
            let info = self.check().await?;
            Ok((info.best_block, Some(info.blocks)))
        })
    }
}
