//! What the nodes have, on chain and in channels.

use anyhow::{Result, ensure};
use regtest::network::Network;

use super::{AMPD, LND};

/// All transactions of the closes of a test, at regtest's fee rates. Less than half of a shard.
const MOST_FEES_SAT: u64 = 200_000;

#[derive(Debug)]
pub struct Balance {
    ampd_sat: u64,
    lnd_sat: u64,
    /// Wallets, and all that is in channels, whoever owns it.
    together_sat: u64,
}

impl Balance {
    pub async fn now(network: &Network) -> Result<Self> {
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

    /// Nothing went to anybody but miners, and so much of it from ampd to lnd.
    pub async fn assert_moved(self, network: &Network, to_lnd_sat: i64) -> Result<()> {
        let after = Self::now(network).await?;
        let fees_sat = self.together_sat.checked_sub(after.together_sat);
        ensure!(
            fees_sat.is_some_and(|sat| sat <= MOST_FEES_SAT),
            "{self:?} became {after:?}"
        );
        let ends = [
            (self.ampd_sat, after.ampd_sat, -to_lnd_sat),
            (self.lnd_sat, after.lnd_sat, to_lnd_sat),
        ];
        for (before_sat, after_sat, gain_sat) in ends {
            let expected_sat = before_sat.checked_add_signed(gain_sat);
            let off_sat = expected_sat.map(|sat| sat.abs_diff(after_sat));
            ensure!(
                off_sat.is_some_and(|sat| sat <= MOST_FEES_SAT),
                "{before_sat} sat became {after_sat} instead of {expected_sat:?}"
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
