//! AddInvoice.

use lightning::ln::channel_state::ChannelDetails;
use lightning_types::routing::{RouteHint, RouteHintHop, RoutingFees};
use tonic::Status;

use crate::invoices::{NewInvoice, Purpose};
use crate::rpc::errors::{refused, unsupported};
use crate::rpc::input::{amount_msat, not_negative};
use crate::rpc::proto::lnrpc::{AddInvoiceResponse, Invoice};
use crate::rpc::{Rooms, route_hints};
use crate::storage::invoices::InvoiceRecord;

/// Channels of ours that go into one invoice at most: each makes it 80 characters longer.
const MAX_OWN_HINTS: usize = 10;

/// Makes an invoice.
pub(super) async fn add(rooms: &Rooms, request: Invoice) -> Result<AddInvoiceResponse, Status> {
    let record = make(rooms, read(request)?).await?;
    Ok(AddInvoiceResponse {
        r_hash: record.payment_hash.to_vec(),
        payment_request: record.terms.payment_request,
        add_index: record.add_index,
        payment_addr: record.payment_addr.to_vec(),
    })
}

/// Makes it, with ways to us over our unannounced channels if the caller wants these.
pub(in crate::rpc) async fn make(
    rooms: &Rooms,
    mut new: NewInvoice,
) -> Result<InvoiceRecord, Status> {
    if new.private {
        new.route_hints
            .extend(own_hints(&rooms.manager.list_usable_channels()));
    }
    Ok(rooms.invoices.add(new).await?)
}

/// What the caller asks for.
pub(in crate::rpc) fn read(request: Invoice) -> Result<NewInvoice, Status> {
    refuse_unsupported(&request)?;
    let value_msat = amount_msat(request.value, request.value_msat)?;
    Ok(NewInvoice {
        description_hash: bytes_32(&request.description_hash, |length| {
            format!("description hash is {length} bytes, must be 32")
        })?,
        purpose: Purpose::Once {
            preimage: bytes_32(&request.r_preimage, |length| {
                format!("invalid preimage length of {length}, want 32")
            })?,
        },
        value_msat,
        expiry: not_negative(request.expiry, "expiry")?,
        cltv_delta: request.cltv_expiry,
        private: request.private,
        route_hints: route_hints::from_messages(&request.route_hints)?,
        memo: request.memo,
    })
}

fn refuse_unsupported(request: &Invoice) -> Result<(), Status> {
    if request.is_amp {
        return Err(unsupported("AMP invoices come with a later version"));
    }
    if request.is_blinded || request.blinded_path_config.is_some() {
        return Err(unsupported("invoices with blinded paths are not supported"));
    }
    if !request.fallback_addr.is_empty() {
        return Err(unsupported(
            "fallback_addr is not supported: leave it empty, or give the payer an address",
        ));
    }
    Ok(())
}

fn bytes_32(
    bytes: &[u8],
    refusal: impl FnOnce(usize) -> String,
) -> Result<Option<[u8; 32]>, Status> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let array = bytes.try_into();
    let array = array.map_err(|_| refused(refusal(bytes.len())))?;
    Ok(Some(array))
}

/// Ways to us over channels that nobody else knows, those first that can bring us most.
fn own_hints(usable: &[ChannelDetails]) -> Vec<RouteHint> {
    let mut private: Vec<_> = usable.iter().filter(|c| !c.is_announced).collect();
    private.sort_by_key(|channel| std::cmp::Reverse(channel.inbound_capacity_msat));
    let hints = private.into_iter().filter_map(hint);
    hints.take(MAX_OWN_HINTS).collect()
}

/// None as long as the peer has not told what it takes for a forward.
fn hint(channel: &ChannelDetails) -> Option<RouteHint> {
    let terms = channel.counterparty.forwarding_info.as_ref()?;
    Some(RouteHint(vec![RouteHintHop {
        src_node_id: channel.counterparty.node_id,
        short_channel_id: channel.get_inbound_payment_scid()?,
        fees: RoutingFees {
            base_msat: terms.fee_base_msat,
            proportional_millionths: terms.fee_proportional_millionths,
        },
        cltv_expiry_delta: terms.cltv_expiry_delta,
        htlc_minimum_msat: None,
        htlc_maximum_msat: None,
    }]))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn refusal(request: Invoice) -> (Code, String) {
        let status = read(request).unwrap_err();
        (status.code(), status.message().to_owned())
    }

    #[test]
    fn request_is_read_as_it_is() {
        let request = Invoice {
            memo: "plain".into(),
            value: 100,
            expiry: 60,
            cltv_expiry: 90,
            r_preimage: vec![1; 32],
            private: true,
            ..Default::default()
        };
        let new = read(request).unwrap();
        assert_eq!((new.memo.as_str(), new.value_msat), ("plain", 100_000));
        assert_eq!((new.expiry, new.cltv_delta), (60, 90));
        let preimage = Some([1; 32]);
        assert_eq!(new.purpose, Purpose::Once { preimage });
        assert!(new.private);
    }

    #[test]
    fn amp_invoices_are_promised() {
        let request = Invoice {
            is_amp: true,
            ..Default::default()
        };
        let text = "AMP invoices come with a later version".to_owned();
        assert_eq!(refusal(request), (Code::Unimplemented, text));
    }

    #[test]
    fn nonsense_is_refused_in_lnds_words() {
        let preimage = Invoice {
            r_preimage: vec![1; 3],
            ..Default::default()
        };
        assert_eq!(refusal(preimage).1, "invalid preimage length of 3, want 32");
        let description = Invoice {
            description_hash: vec![1],
            ..Default::default()
        };
        assert_eq!(
            refusal(description).1,
            "description hash is 1 bytes, must be 32"
        );
        let negative = Invoice {
            value: -5,
            ..Default::default()
        };
        assert_eq!(refusal(negative).1, "amount cannot be negative");
        let expiry = Invoice {
            expiry: -1,
            ..Default::default()
        };
        assert_eq!(refusal(expiry).0, Code::InvalidArgument);
    }
}
