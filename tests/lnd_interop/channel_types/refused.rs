//! Types that ampd does not support: both ends report this, and their other channel stays open.

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::{CommitmentType, OpenChannelRequest};
use regtest::api::bytes;
use regtest::network::{ChannelPlan, Network};
use regtest::trials;
use tonic::{Code, Status};

use super::{AMPD, LND, PUSH_SAT, pay_in_each_direction, with_lnd};
use crate::scene::CAPACITY_SAT;

const OPTIONS: [&str; 3] = [
    "protocol.option-scid-alias",
    "protocol.zero-conf",
    "protocol.simple-taproot-chans",
];

pub(crate) fn trials() -> trials::Trials {
    trials![zero_conf_and_taproot_channels_are_refused]
}

async fn zero_conf_and_taproot_channels_are_refused() -> Result<()> {
    let network = with_lnd(&OPTIONS).await?;
    let plan = ChannelPlan::new(LND, AMPD, CAPACITY_SAT).push(PUSH_SAT);
    let points = network.open(&[plan]).await?;
    from_lnd(&network).await?;
    from_ampd(&network).await?;
    for name in [AMPD, LND] {
        let pending = network[name].api()?.pending().await?;
        assert_eq!(pending.pending_open_channels, []);
    }
    pay_in_each_direction(&network, &points[0]).await?;
    network.finish();
    Ok(())
}

/// The opener of a zero-conf channel can double-spend it: ampd tells lnd that it accepts none. It does
/// not announce taproot channels, so lnd does not even propose one.
async fn from_lnd(network: &Network) -> Result<()> {
    let zero_conf = refusal(network, LND, zero_conf).await?;
    ensure!(
        zero_conf
            .message()
            .contains("zero-conf channels are not accepted"),
        "{zero_conf}"
    );
    let taproot = refusal(network, LND, taproot).await?;
    ensure!(
        taproot
            .message()
            .contains("requested channel type not supported"),
        "{taproot}"
    );
    Ok(())
}

async fn from_ampd(network: &Network) -> Result<()> {
    let zero_conf = refusal(network, AMPD, zero_conf).await?;
    assert_eq!(zero_conf.code(), Code::Unimplemented);
    ensure!(zero_conf.message().contains("zero_conf"), "{zero_conf}");
    let taproot = refusal(network, AMPD, taproot).await?;
    assert_eq!(taproot.code(), Code::Unimplemented);
    ensure!(taproot.message().contains("commitment_type"), "{taproot}");
    Ok(())
}

fn zero_conf(request: &mut OpenChannelRequest) {
    request.zero_conf = true;
    // Required by lnd.
    request.commitment_type = CommitmentType::Anchors.into();
}

fn taproot(request: &mut OpenChannelRequest) {
    request.commitment_type = CommitmentType::SimpleTaproot.into();
}

/// The error when this node opens a private channel with the modified request.
async fn refusal(
    network: &Network,
    from: &str,
    change: fn(&mut OpenChannelRequest),
) -> Result<Status> {
    let to = if from == AMPD { LND } else { AMPD };
    let mut request = OpenChannelRequest {
        node_pubkey: bytes(network[to].key())?,
        local_funding_amount: 100_000,
        private: true,
        ..Default::default()
    };
    change(&mut request);
    let mut lightning = network[from].api()?.lightning;
    let refused = lightning.open_channel_sync(request).await;
    Ok(refused.expect_err("the channel was opened"))
}
