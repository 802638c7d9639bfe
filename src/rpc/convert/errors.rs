//! Maps errors of the node's modules to gRPC status codes with lnd's texts.
//!
//! lnd returns `Unknown` for nearly every error, and clients match on its texts. Other codes are used
//! where lnd uses them, and for errors that lnd does not have.

use tonic::Status;

use crate::chain::ChainError;
use crate::channels::close::CloseError;
use crate::channels::open::OpenError;
use crate::invoices::decode::DecodeError;
use crate::invoices::{InvoiceError, TooSlow};
use crate::payments::{DeleteError, SendError, SendToRouteError};
use crate::peers::connect::{ConnectError, DisconnectError};
use crate::routing::NoRoute;
use crate::routing::build_route::BuildError;
use crate::storage::StorageError;
use crate::wallet::{FundsError, WalletError};

/// An error for a request that lnd rejects with the same text.
pub(in crate::rpc) fn refused(text: impl Into<String>) -> Status {
    Status::unknown(text)
}

/// An error for an invalid value for which lnd has no text.
pub(in crate::rpc) fn invalid(text: impl Into<String>) -> Status {
    Status::invalid_argument(text)
}

/// An error for an lnd feature that ampd does not support.
pub(in crate::rpc) fn unsupported(text: impl Into<String>) -> Status {
    Status::unimplemented(text)
}

impl From<StorageError> for Status {
    fn from(error: StorageError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<SendError> for Status {
    fn from(error: SendError) -> Self {
        match error {
            SendError::InFlight | SendError::AlreadyPaid => Self::already_exists(error.to_string()),
            SendError::CustomRecord(_) => {
                refused("no custom records with types below 65536 allowed")
            }
            SendError::NotWriting(_) => Self::unavailable(error.to_string()),
            SendError::SelfPaymentUnsupported => unsupported(error.to_string()),
            SendError::Storage(error) => error.into(),
            SendError::NoAmount
            | SendError::SelfPayment
            | SendError::Expired(_)
            | SendError::CltvLimit { .. }
            | SendError::CltvLimitTooHigh { .. }
            | SendError::ShardsTooSmall { .. } => refused(error.to_string()),
        }
    }
}

impl From<DeleteError> for Status {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Unknown => Self::not_found(error.to_string()),
            DeleteError::InFlight(_) => refused(error.to_string()),
            DeleteError::Storage(error) => error.into(),
            DeleteError::NotWriting(_) | DeleteError::Stopping => {
                Self::unavailable(error.to_string())
            }
        }
    }
}

impl From<SendToRouteError> for Status {
    fn from(error: SendToRouteError) -> Self {
        match error {
            SendToRouteError::Send(error) => error.into(),
            SendToRouteError::Unfollowed(_) => Self::internal(error.to_string()),
            SendToRouteError::Route(_)
            | SendToRouteError::Records(_)
            | SendToRouteError::AmpWithoutMpp
            | SendToRouteError::NotOurChannel { .. }
            | SendToRouteError::MoreThanTotal
            | SendToRouteError::OtherTotal
            | SendToRouteError::OtherAddress
            | SendToRouteError::HasParts
            | SendToRouteError::IsWhole
            | SendToRouteError::IsFailing => refused(error.to_string()),
        }
    }
}

impl From<NoRoute> for Status {
    fn from(error: NoRoute) -> Self {
        refused(error.to_string())
    }
}

impl From<BuildError> for Status {
    fn from(error: BuildError) -> Self {
        refused(error.to_string())
    }
}

impl From<InvoiceError> for Status {
    fn from(error: InvoiceError) -> Self {
        match error {
            InvoiceError::NotFound => Self::not_found(error.to_string()),
            InvoiceError::NotWriting(_) => Self::unavailable(error.to_string()),
            InvoiceError::Storage(error) => error.into(),
            InvoiceError::Duplicate
            | InvoiceError::NotAmp
            | InvoiceError::StillOpen
            | InvoiceError::ClaimDeadline { .. }
            | InvoiceError::AlreadySettled
            | InvoiceError::AlreadyCanceled
            | InvoiceError::NotCanceled
            | InvoiceError::WasPaid
            | InvoiceError::NotStatic
            | InvoiceError::MemoTooLong(_)
            | InvoiceError::RequestTooLong(_)
            | InvoiceError::AmountTooLarge(_)
            | InvoiceError::ExpiryTooLong(_)
            | InvoiceError::NeverExpires
            | InvoiceError::FallbackNetwork(_)
            | InvoiceError::CltvDelta { .. }
            | InvoiceError::EmptyRouteHint
            | InvoiceError::Build(_) => refused(error.to_string()),
        }
    }
}

impl From<TooSlow> for Status {
    fn from(error: TooSlow) -> Self {
        Self::resource_exhausted(error.to_string())
    }
}

impl From<DecodeError> for Status {
    fn from(error: DecodeError) -> Self {
        refused(error.to_string())
    }
}

impl From<OpenError> for Status {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Stopping => Self::unavailable(error.to_string()),
            OpenError::NoRandomness(_) => Self::internal(error.to_string()),
            OpenError::ToSelf
            | OpenError::TooSmall
            | OpenError::TooLarge
            | OpenError::PushTooLarge
            | OpenError::NotOnline(_)
            | OpenError::PublicAlias
            | OpenError::NoAlias(_)
            | OpenError::Refused(_)
            | OpenError::Wallet(_)
            | OpenError::NotAccepted(_)
            | OpenError::Closed(_) => refused(error.to_string()),
        }
    }
}

impl From<CloseError> for Status {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::NotFound(point) => refused(format!("channel not found: {point}")),
            CloseError::Stopping | CloseError::Unwritable(_) => {
                Self::unavailable(error.to_string())
            }
            CloseError::PeerOffline
            | CloseError::Delivery
            | CloseError::FeeTooHigh { .. }
            | CloseError::FeeTooLow { .. }
            | CloseError::Refused(_)
            | CloseError::Forced(_) => refused(error.to_string()),
        }
    }
}

impl From<ConnectError> for Status {
    fn from(error: ConnectError) -> Self {
        refused(error.to_string())
    }
}

impl From<DisconnectError> for Status {
    fn from(error: DisconnectError) -> Self {
        refused(error.to_string())
    }
}

impl From<WalletError> for Status {
    fn from(error: WalletError) -> Self {
        match error {
            WalletError::OtherSeed
            | WalletError::OtherNetwork { .. }
            | WalletError::Load(_)
            | WalletError::Damaged(_)
            | WalletError::Internal(_) => Self::internal(error.to_string()),
            WalletError::NoOutputs
            | WalletError::CoinNotFree(_)
            | WalletError::UnknownCoin
            | WalletError::LeasedAlready
            | WalletError::OtherLease
            | WalletError::UnknownTransaction
            | WalletError::LabelledAlready
            | WalletError::NotReplaceable { .. }
            | WalletError::ReplacementRate(_)
            | WalletError::OverBudget { .. }
            | WalletError::PsbtInput { .. }
            | WalletError::InsufficientFunds { .. }
            | WalletError::InsufficientFunding { .. }
            | WalletError::Reserve { .. }
            | WalletError::BadAddress { .. }
            | WalletError::OtherNetworkAddress { .. }
            | WalletError::Dust { .. }
            | WalletError::FeeRate { .. }
            | WalletError::NotPending(_)
            | WalletError::ChangeSpent(_) => refused(error.to_string()),
        }
    }
}

impl From<FundsError> for Status {
    fn from(error: FundsError) -> Self {
        match error {
            FundsError::Wallet(error) => error.into(),
            FundsError::Chain(error) => error.into(),
            FundsError::NotSaved(_) | FundsError::Unreachable(_) | FundsError::Unknown { .. } => {
                Self::unavailable(error.to_string())
            }
            FundsError::Panicked(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<ChainError> for Status {
    fn from(error: ChainError) -> Self {
        if error.is_refusal() {
            refused(error.to_string())
        } else {
            Self::unavailable(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn answer(error: impl Into<Status>) -> (Code, String) {
        let status = error.into();
        (status.code(), status.message().to_owned())
    }

    #[test]
    fn in_flight_and_paid_payments_have_different_errors() {
        let text = |text: &str| (Code::AlreadyExists, text.to_owned());
        assert_eq!(
            answer(SendError::InFlight),
            text("payment is in transition")
        );
        assert_eq!(
            answer(SendError::AlreadyPaid),
            text("invoice is already paid")
        );
    }

    #[test]
    fn rejections_use_lnds_texts() {
        let text = |text: &str| (Code::Unknown, text.to_owned());
        assert_eq!(
            answer(SendError::SelfPayment),
            text("self-payments not allowed")
        );
        assert_eq!(
            answer(SendError::NoAmount),
            text("amount must be specified")
        );
        let (limit, most) = (1_001, 1_000);
        assert_eq!(
            answer(SendError::CltvLimitTooHigh { limit, most }),
            text("total time lock of 1001 exceeds max allowed 1000")
        );
        let too_small = SendError::ShardsTooSmall {
            amount_msat: 300_000_000,
            max_parts: 10,
            max_shard_msat: 300_000,
        };
        let (_, message) = answer(too_small);
        assert!(
            message.starts_with("payment amount 300000000 mSAT exceeds maximum possible amount")
        );
        assert_eq!(
            answer(SendError::CustomRecord(100)),
            text("no custom records with types below 65536 allowed")
        );
        assert_eq!(
            answer(InvoiceError::Duplicate),
            text("invoice with payment hash already exists")
        );
        assert_eq!(
            answer(InvoiceError::MemoTooLong(2000)),
            text("memo too large: 2000 bytes (maxsize=1024)")
        );
        assert_eq!(
            answer(OpenError::TooSmall),
            text("channel is too small, the minimum channel size is: 20000 SAT")
        );
        let (code, close) = answer(CloseError::NotFound(bitcoin::OutPoint::null()));
        assert_eq!(code, Code::Unknown);
        assert!(close.starts_with("channel not found"));
    }

    #[test]
    fn unknown_invoice_returns_not_found() {
        let expected = (Code::NotFound, "unable to locate invoice".to_owned());
        assert_eq!(answer(InvoiceError::NotFound), expected);
    }

    #[test]
    fn node_failures_are_internal_or_unavailable() {
        let damaged = StorageError::Damaged("x".into());
        assert_eq!(answer(InvoiceError::Storage(damaged)).0, Code::Internal);
        let full = SendError::NotWriting("disk full".into());
        assert_eq!(answer(full).0, Code::Unavailable);
        let full = InvoiceError::NotWriting("disk full".into());
        assert_eq!(answer(full).0, Code::Unavailable);
        assert_eq!(answer(OpenError::Stopping).0, Code::Unavailable);
    }
}
