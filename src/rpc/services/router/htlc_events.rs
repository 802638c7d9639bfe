//! SubscribeHtlcEvents.

use lightning::ln::LocalHTLCFailureReason as Reason;
use tokio_util::sync::CancellationToken;

use crate::channels::Channels;
use crate::channels::htlc_feed::{HtlcEvent, HtlcKind, HtlcStep};
use crate::rpc::transport::events::next;
use crate::rpc::transport::streams::{Answers, stream};
use lnd_api::proto::lnrpc::failure::FailureCode;
use lnd_api::proto::routerrpc;
use lnd_api::proto::routerrpc::htlc_event::{Event, EventType};
use lnd_api::proto::routerrpc::{
    FailureDetail, ForwardEvent, ForwardFailEvent, HtlcInfo, LinkFailEvent, SettleEvent,
    SubscribedEvent,
};

/// Streams a subscribed event, then HTLC events from now on.
pub(super) fn follow(
    channels: &Channels,
    stop: CancellationToken,
) -> Answers<routerrpc::HtlcEvent> {
    let mut events = channels.htlc_events();
    stream(stop, move |writer| async move {
        writer.send(subscribed()).await;
        loop {
            writer.send(message(&next(&mut events).await?)).await;
        }
    })
}

fn subscribed() -> routerrpc::HtlcEvent {
    routerrpc::HtlcEvent {
        event: Some(Event::SubscribedEvent(SubscribedEvent {})),
        ..Default::default()
    }
}

fn message(event: &HtlcEvent) -> routerrpc::HtlcEvent {
    routerrpc::HtlcEvent {
        incoming_channel_id: event.incoming_scid.unwrap_or_default(),
        outgoing_channel_id: event.outgoing_scid.unwrap_or_default(),
        timestamp_ns: event.at_ns,
        event_type: kind(event.kind).into(),
        event: Some(step(event.step)),
        ..Default::default()
    }
}

fn kind(kind: HtlcKind) -> EventType {
    match kind {
        HtlcKind::Send => EventType::Send,
        HtlcKind::Receive => EventType::Receive,
        HtlcKind::Forward => EventType::Forward,
    }
}

fn step(step: HtlcStep) -> Event {
    match step {
        HtlcStep::Sent {
            amount_msat,
            expiry_height,
        } => Event::ForwardEvent(ForwardEvent {
            info: Some(HtlcInfo {
                outgoing_timelock: expiry_height,
                outgoing_amt_msat: amount_msat,
                ..Default::default()
            }),
        }),
        HtlcStep::Settled(preimage) => Event::SettleEvent(SettleEvent {
            preimage: preimage.map_or_else(Vec::new, |preimage| preimage.0.to_vec()),
        }),
        HtlcStep::FailedBehind => Event::ForwardFailEvent(ForwardFailEvent {}),
        HtlcStep::FailedHere(reason) => Event::LinkFailEvent(LinkFailEvent {
            info: None,
            wire_failure: code(reason).into(),
            failure_detail: detail(reason).into(),
            failure_string: format!("{reason:?}"),
        }),
    }
}

/// Returns the failure code sent to the payer (BOLT 4), as lnd's enum.
fn code(reason: Reason) -> FailureCode {
    match reason {
        Reason::TemporaryNodeFailure | Reason::ForwardExpiryBuffer => {
            FailureCode::TemporaryNodeFailure
        }
        Reason::PermanentNodeFailure => FailureCode::PermanentNodeFailure,
        Reason::RequiredNodeFeature | Reason::PaymentSecretRequired => {
            FailureCode::RequiredNodeFeatureMissing
        }
        Reason::InvalidOnionVersion => FailureCode::InvalidOnionVersion,
        Reason::InvalidOnionHMAC => FailureCode::InvalidOnionHmac,
        Reason::InvalidOnionKey => FailureCode::InvalidOnionKey,
        Reason::TemporaryChannelFailure
        | Reason::DustLimitHolder
        | Reason::DustLimitCounterparty
        | Reason::FeeSpikeBuffer
        | Reason::ChannelNotReady
        | Reason::ZeroAmount
        | Reason::HTLCMinimum
        | Reason::HTLCMaximum
        | Reason::PeerOffline
        | Reason::ChannelBalanceOverdrawn => FailureCode::TemporaryChannelFailure,
        Reason::PermanentChannelFailure | Reason::ChannelClosed | Reason::OnChainTimeout => {
            FailureCode::PermanentChannelFailure
        }
        Reason::RequiredChannelFeature => FailureCode::RequiredChannelFeatureMissing,
        Reason::UnknownNextPeer
        | Reason::PrivateChannelForward
        | Reason::RealSCIDForward
        | Reason::InvalidTrampolineForward => FailureCode::UnknownNextPeer,
        Reason::AmountBelowMinimum => FailureCode::AmountBelowMinimum,
        Reason::FeeInsufficient => FailureCode::FeeInsufficient,
        Reason::IncorrectCLTVExpiry => FailureCode::IncorrectCltvExpiry,
        Reason::CLTVExpiryTooSoon | Reason::OutgoingCLTVTooSoon => FailureCode::ExpiryTooSoon,
        Reason::IncorrectPaymentDetails
        | Reason::PaymentClaimBuffer
        | Reason::InvalidKeysendPreimage => FailureCode::IncorrectOrUnknownPaymentDetails,
        Reason::FinalIncorrectCLTVExpiry => FailureCode::FinalIncorrectCltvExpiry,
        Reason::FinalIncorrectHTLCAmount => FailureCode::FinalIncorrectHtlcAmount,
        Reason::ChannelDisabled => FailureCode::ChannelDisabled,
        Reason::CLTVExpiryTooFar => FailureCode::ExpiryTooFar,
        Reason::InvalidOnionPayload | Reason::InvalidTrampolinePayload => {
            FailureCode::InvalidOnionPayload
        }
        Reason::MPPTimeout => FailureCode::MppTimeout,
        Reason::InvalidOnionBlinding => FailureCode::InvalidOnionBlinding,
        Reason::UnknownFailureCode { .. } => FailureCode::UnknownFailure,
    }
}

/// Returns lnd's failure detail, where LDK's reason has an equivalent.
fn detail(reason: Reason) -> FailureDetail {
    match reason {
        Reason::InvalidOnionVersion | Reason::InvalidOnionHMAC | Reason::InvalidOnionKey => {
            FailureDetail::OnionDecode
        }
        Reason::ChannelNotReady | Reason::PeerOffline => FailureDetail::LinkNotEligible,
        Reason::OnChainTimeout => FailureDetail::OnChainTimeout,
        Reason::HTLCMaximum => FailureDetail::HtlcExceedsMax,
        Reason::ChannelBalanceOverdrawn => FailureDetail::InsufficientBalance,
        Reason::MPPTimeout => FailureDetail::MppInvoiceTimeout,
        Reason::InvalidKeysendPreimage => FailureDetail::InvalidKeysend,
        _ => FailureDetail::NoDetail,
    }
}

#[cfg(test)]
mod tests {
    use lightning_types::payment::PaymentPreimage;

    use super::*;

    fn event(kind: HtlcKind, step: HtlcStep) -> HtlcEvent {
        HtlcEvent {
            at_ns: 7,
            kind,
            incoming_scid: None,
            outgoing_scid: Some(5),
            step,
        }
    }

    #[test]
    fn own_payments_have_no_incoming_circuit_key() {
        let sent = HtlcStep::Sent {
            amount_msat: 1_000,
            expiry_height: 200,
        };
        let shown = message(&event(HtlcKind::Send, sent));
        assert_eq!(
            (shown.incoming_channel_id, shown.outgoing_channel_id),
            (0, 5)
        );
        assert_eq!(shown.event_type(), EventType::Send);
        let Some(Event::ForwardEvent(ForwardEvent { info: Some(info) })) = shown.event else {
            panic!("{shown:?}");
        };
        assert_eq!(
            (info.outgoing_amt_msat, info.outgoing_timelock),
            (1_000, 200)
        );
        let settled = HtlcStep::Settled(Some(PaymentPreimage([9; 32])));
        let expected = SettleEvent {
            preimage: vec![9; 32],
        };
        assert_eq!(step(settled), Event::SettleEvent(expected));
    }

    #[test]
    fn link_failures_have_a_detail() {
        let failed = HtlcStep::FailedHere(Reason::ChannelBalanceOverdrawn);
        let Event::LinkFailEvent(failed) = step(failed) else {
            panic!("{failed:?}");
        };
        assert_eq!(failed.wire_failure(), FailureCode::TemporaryChannelFailure);
        assert_eq!(failed.failure_detail(), FailureDetail::InsufficientBalance);
        assert_eq!(failed.failure_string, "ChannelBalanceOverdrawn");
    }
}
