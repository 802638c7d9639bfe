//! A node that joins late learns all channels from its only peer, and new ones as they are announced:
//! an lnd from an ampd, and an ampd from an lnd.

use std::time::Duration;

use anyhow::Result;
use regtest::announced::{AnnouncedChannels, wait_known};
use regtest::network::Network;
use regtest::node::Software::{self, Ampd, Lnd};
use regtest::raw_peer::Target;
use regtest::trials;

use crate::binaries;
use crate::scene::prepare;

const CHANNELS: usize = 200;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> trials::Trials {
    trials![
        late_lnd_learns_all_channels_from_ampd,
        late_ampd_learns_all_channels_from_lnd,
    ]
}

async fn late_lnd_learns_all_channels_from_ampd() -> Result<()> {
    learns_all(Lnd, Ampd).await
}

async fn late_ampd_learns_all_channels_from_lnd() -> Result<()> {
    learns_all(Ampd, Lnd).await
}

async fn learns_all(late: Software, peer: Software) -> Result<()> {
    let mut network = Network::mixed(binaries(), &[("peer", peer)]).await?;
    let old = AnnouncedChannels::fund(&network.bitcoind, CHANNELS).await?;
    network.wait_synced().await?;
    let target = Target::of(&network["peer"])?;
    let _old = old.announce_to(&target).await?;
    wait_known(&network["peer"].api()?, CHANNELS, LIMIT).await?;

    network.add(vec![prepare(&network, "late", late)?]).await?;
    network.connect("late", "peer").await?;
    let api = network["late"].api()?;
    wait_known(&api, CHANNELS, LIMIT).await?;

    let new = AnnouncedChannels::fund(&network.bitcoind, 1).await?;
    network.wait_synced().await?;
    let _new = new.announce_to(&target).await?;
    wait_known(&api, CHANNELS + 1, LIMIT).await?;
    network.finish();
    Ok(())
}
