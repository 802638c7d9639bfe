//! On-chain and channel balances of the nodes.

use anyhow::{Result, ensure};
use regtest::network::Network;

use super::{AMPD, LND};

/// Maximum fees of all closes of a test, at regtest's fee rates. Less than half of a shard.
const MAX_FEES_SAT: u64 = 200_000;

#[derive(Debug)]
pub(super) struct Balance {
    ampd_sat: u64,
    lnd_sat: u64,
    /// All wallets and channel capacities, on both sides.
    together_sat: u64,
}

impl Balance {
    pub(super) async fn now(network: &Network) -> Result<Self> {
        let channels = network[AMPD].api()?.channels().await?;
        let capacities = channels.iter().map(|channel| channel.capacity);
        let in_channels = u64::try_from(capacities.sum::<i64>())?;
        let wallets = wallet_sat(network, AMPD).await? + wallet_sat(network, LND).await?;
        Ok(Self {
            ampd_sat: all_sat(network, AMPD).await?,
            lnd_sat: all_sat(network, LND).await?,
            together_sat: wallets + in_channels,
        })
    }

    /// Checks that only miners gained funds, and that this much moved from ampd to lnd.
    pub(super) async fn assert_moved(self, network: &Network, to_lnd_sat: i64) -> Result<()> {
        let after = Self::now(network).await?;
        let fees_sat = self.together_sat.checked_sub(after.together_sat);
        ensure!(
            fees_sat.is_some_and(|sat| sat <= MAX_FEES_SAT),
            "the balance was {self:?} and is now {after:?}"
        );
        let ends = [
            (self.ampd_sat, after.ampd_sat, -to_lnd_sat),
            (self.lnd_sat, after.lnd_sat, to_lnd_sat),
        ];
        for (before_sat, after_sat, gain_sat) in ends {
            let expected_sat = before_sat.checked_add_signed(gain_sat);
            let off_sat = expected_sat.map(|sat| sat.abs_diff(after_sat));
            ensure!(
                off_sat.is_some_and(|sat| sat <= MAX_FEES_SAT),
                "the balance was {before_sat} sat and is now {after_sat} instead of {expected_sat:?} sat"
            );
        }
        Ok(())
    }
}

async fn all_sat(network: &Network, name: &str) -> Result<u64> {
    let local_msat = network[name].api()?.local_msat().await?;
    Ok(wallet_sat(network, name).await? + local_msat / 1_000)
}

async fn wallet_sat(network: &Network, name: &str) -> Result<u64> {
    let wallet = network[name].api()?.wallet().await?;
    Ok(u64::try_from(wallet.total_balance)?)
}
