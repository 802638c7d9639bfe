//! SendCoins: pays on chain.

use std::sync::Arc;

use bitcoin::{Amount, FeeRate};
use lightning::chain::chaininterface::BroadcasterInterface;
use tonic::Status;

use super::wallet::reserve;
use crate::chain::FeeEstimates;
use crate::channels::list::channels;
use crate::rpc::Rooms;
use crate::rpc::errors::{refused, unsupported};
use crate::rpc::input::{FeeChoice, min_confs, not_negative, per_kw};
use crate::rpc::proto::lnrpc::{SendCoinsRequest, SendCoinsResponse};
use crate::wallet::{SendAmount, Spend};

/// Blocks within which a payment should confirm if the caller does not say (lnd).
const DEFAULT_TARGET: u32 = 6;

/// Makes, signs and broadcasts a transaction. A caller that goes away meanwhile stops nothing: the
/// wallet would count on a transaction that nobody has.
pub(super) async fn send(
    rooms: Arc<Rooms>,
    request: SendCoinsRequest,
) -> Result<SendCoinsResponse, Status> {
    let spend = spend(&rooms, &request)?;
    let sent = tokio::spawn(async move { pay(&rooms, &spend).await });
    match sent.await {
        Ok(sent) => sent,
        Err(error) => Err(Status::internal(format!("the payment failed: {error}"))),
    }
}

async fn pay(rooms: &Rooms, spend: &Spend) -> Result<SendCoinsResponse, Status> {
    let transaction = rooms.wallet.send(spend)?;
    let txid = transaction.compute_txid();
    let published = rooms
        .broadcaster
        .publish(std::slice::from_ref(&transaction));
    match published.await {
        Ok(()) => {}
        Err(error) if error.is_refusal() => {
            if let Err(kept) = rooms.wallet.cancel(txid) {
                tracing::error!(%txid, %kept, "coins of a refused payment are not free");
            }
            return Err(error.into());
        }
        Err(error) => {
            // bitcoind may have it or not. To say that nothing was paid could make the caller pay
            // twice, so the payment stands, and goes out as soon as bitcoind answers.
            tracing::warn!(%txid, %error, "a payment waits for bitcoind");
            rooms.broadcaster.broadcast_transactions(&[&transaction]);
        }
    }
    Ok(SendCoinsResponse {
        txid: txid.to_string(),
    })
}

fn spend(rooms: &Rooms, request: &SendCoinsRequest) -> Result<Spend, Status> {
    refuse_unsupported(request)?;
    Ok(Spend {
        to: rooms.wallet.parse_address(&request.addr)?.script_pubkey(),
        amount: amount(request)?,
        fee_rate: fee_rate(request, &rooms.fees)?,
        min_confs: min_confs(request.min_confs, request.spend_unconfirmed)?,
        reserve: reserve(&channels(&rooms.manager)),
    })
}

fn refuse_unsupported(request: &SendCoinsRequest) -> Result<(), Status> {
    if !request.outpoints.is_empty() || request.coin_selection_strategy != 0 {
        return Err(unsupported(
            "outpoints and coin_selection_strategy are not supported: the wallet chooses its coins",
        ));
    }
    if !request.label.is_empty() {
        return Err(unsupported(
            "labels of transactions are not supported: leave label empty",
        ));
    }
    Ok(())
}

fn amount(request: &SendCoinsRequest) -> Result<SendAmount, Status> {
    match (request.send_all, request.amount) {
        (true, 0) => Ok(SendAmount::All),
        (true, _) => Err(refused("amount set while SendAll is active")),
        (false, sat) => not_negative(sat, "amount").map(|sat| {
            let amount = Amount::from_sat(sat);
            SendAmount::Exactly(amount)
        }),
    }
}

fn fee_rate(request: &SendCoinsRequest, fees: &FeeEstimates) -> Result<FeeRate, Status> {
    let choice = FeeChoice::of(
        request.target_conf,
        request.sat_per_vbyte,
        request.sat_per_byte,
    )?;
    let sat_per_kw = match choice {
        FeeChoice::SatPerVbyte(rate) => per_kw(rate)?,
        FeeChoice::ConfirmIn(blocks) => u64::from(fees.sat_per_kw(blocks)),
        FeeChoice::Unsaid => u64::from(fees.sat_per_kw(DEFAULT_TARGET)),
    };
    Ok(FeeRate::from_sat_per_kwu(sat_per_kw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_an_amount() {
        let request = |send_all, amount| SendCoinsRequest {
            send_all,
            amount,
            ..Default::default()
        };
        let exactly = SendAmount::Exactly(Amount::from_sat(1000));
        assert_eq!(amount(&request(false, 1000)).unwrap(), exactly);
        assert_eq!(amount(&request(true, 0)).unwrap(), SendAmount::All);
        assert!(amount(&request(true, 1)).is_err());
        assert!(amount(&request(false, -1)).is_err());
    }

    #[test]
    fn fee_rate_is_the_callers_or_an_estimate() {
        let fees = FeeEstimates::default();
        let request = |sat_per_vbyte, target_conf| SendCoinsRequest {
            sat_per_vbyte,
            target_conf,
            ..Default::default()
        };
        let rate = |request| fee_rate(&request, &fees).unwrap().to_sat_per_kwu();
        assert_eq!(rate(request(3, 0)), 750);
        assert_eq!(rate(request(0, 144)), u64::from(fees.sat_per_kw(144)));
        assert_eq!(rate(request(0, 0)), u64::from(fees.sat_per_kw(6)));
        assert!(fee_rate(&request(u64::MAX, 0), &fees).is_err());
    }
}
