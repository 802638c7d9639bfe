//! A client of one node's gRPC interface, with a method for each common request of the tests.

use std::time::Duration;

use anyhow::{Context, Result};
use lnd_api::layout::MACAROON_HEADER;
use lnd_api::proto::ampdrpc::static_invoices_client::StaticInvoicesClient;
use lnd_api::proto::chainrpc::chain_notifier_client::ChainNotifierClient;
use lnd_api::proto::invoicesrpc::invoices_client::InvoicesClient;
use lnd_api::proto::lnrpc::lightning_client::LightningClient;
use lnd_api::proto::lnrpc::{
    AddInvoiceResponse, Channel as LnChannel, ChannelBalanceRequest, ChannelBalanceResponse,
    ClosedChannelsRequest, ClosedChannelsResponse, GetInfoRequest, GetInfoResponse, Invoice,
    ListChannelsRequest, ListInvoiceRequest, ListInvoiceResponse, ListPaymentsRequest,
    ListPaymentsResponse, NewAddressRequest, Payment, PendingChannelsRequest,
    PendingChannelsResponse, WalletBalanceRequest, WalletBalanceResponse,
};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use lnd_api::proto::routerrpc::router_client::RouterClient;
use lnd_api::proto::walletrpc::wallet_kit_client::WalletKitClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// A node on the same machine responds in milliseconds; a busy machine may take longer.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Lists of payments and invoices get long in crash tests.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A connection that adds the macaroon to each call.
pub type Service = InterceptedService<Channel, Credentials>;

/// Adds a macaroon to each call, if there is one.
#[derive(Clone, Debug)]
pub struct Credentials(Option<MetadataValue<Ascii>>);

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(macaroon) = &self.0 {
            request
                .metadata_mut()
                .insert(MACAROON_HEADER, macaroon.clone());
        }
        Ok(request)
    }
}

/// The services of a node. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Api {
    pub lightning: LightningClient<Service>,
    pub invoices: InvoicesClient<Service>,
    pub router: RouterClient<Service>,
    pub static_invoices: StaticInvoicesClient<Service>,
    pub chain: ChainNotifierClient<Service>,
    pub wallet_kit: WalletKitClient<Service>,
}

/// How to connect to a node and authenticate it.
#[derive(Clone, Debug)]
pub struct Server<'a> {
    /// Address as IP:port.
    pub address: &'a str,
    /// The name in its certificate.
    pub host: &'a str,
    /// Its certificate in PEM.
    pub certificate: &'a str,
}

impl Api {
    /// Connects on the first call. Without a macaroon (hex) the client is unauthenticated.
    pub fn new(server: &Server<'_>, macaroon: Option<&str>) -> Result<Self> {
        let macaroon = macaroon.map(str::parse).transpose();
        let credentials = Credentials(macaroon.context("the macaroon is not valid gRPC metadata")?);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(server.certificate))
            .domain_name(server.host);
        let endpoint = Endpoint::from_shared(format!("https://{}", server.address))?;
        Ok(Self::over(endpoint.tls_config(tls)?, credentials))
    }

    fn over(endpoint: Endpoint, credentials: Credentials) -> Self {
        let channel = endpoint.connect_timeout(CONNECT_LIMIT).connect_lazy();
        let service = InterceptedService::new(channel, credentials);
        let lightning = LightningClient::new(service.clone());
        let invoices = InvoicesClient::new(service.clone());
        Self {
            lightning: lightning.max_decoding_message_size(MAX_ANSWER_BYTES),
            invoices: invoices.max_decoding_message_size(MAX_ANSWER_BYTES),
            router: RouterClient::new(service.clone()).max_decoding_message_size(MAX_ANSWER_BYTES),
            chain: ChainNotifierClient::new(service.clone()),
            wallet_kit: WalletKitClient::new(service.clone())
                .max_decoding_message_size(MAX_ANSWER_BYTES),
            static_invoices: StaticInvoicesClient::new(service)
                .max_decoding_message_size(MAX_ANSWER_BYTES),
        }
    }

    /// Calls GetInfo.
    pub async fn info(&self) -> Result<GetInfoResponse, Status> {
        Ok(self
            .lightning
            .clone()
            .get_info(GetInfoRequest {})
            .await?
            .into_inner())
    }

    /// Returns a new on-chain address.
    pub async fn address(&self) -> Result<String, Status> {
        let request = NewAddressRequest::default();
        Ok(self
            .lightning
            .clone()
            .new_address(request)
            .await?
            .into_inner()
            .address)
    }

    /// Calls WalletBalance.
    pub async fn wallet(&self) -> Result<WalletBalanceResponse, Status> {
        let request = WalletBalanceRequest::default();
        Ok(self
            .lightning
            .clone()
            .wallet_balance(request)
            .await?
            .into_inner())
    }

    /// Calls ChannelBalance.
    pub async fn balance(&self) -> Result<ChannelBalanceResponse, Status> {
        let request = ChannelBalanceRequest {};
        Ok(self
            .lightning
            .clone()
            .channel_balance(request)
            .await?
            .into_inner())
    }

    /// The node's total local balance in its channels, in msat.
    pub async fn local_msat(&self) -> Result<u64, Status> {
        Ok(self.balance().await?.local_balance.unwrap_or_default().msat)
    }

    /// Lists the open channels.
    pub async fn channels(&self) -> Result<Vec<LnChannel>, Status> {
        let request = ListChannelsRequest::default();
        Ok(self
            .lightning
            .clone()
            .list_channels(request)
            .await?
            .into_inner()
            .channels)
    }

    /// Calls PendingChannels: channels being opened or closed.
    pub async fn pending(&self) -> Result<PendingChannelsResponse, Status> {
        let request = PendingChannelsRequest::default();
        Ok(self
            .lightning
            .clone()
            .pending_channels(request)
            .await?
            .into_inner())
    }

    /// Calls ClosedChannels for all kinds of closes.
    pub async fn closed(&self) -> Result<ClosedChannelsResponse, Status> {
        let request = ClosedChannelsRequest::default();
        Ok(self
            .lightning
            .clone()
            .closed_channels(request)
            .await?
            .into_inner())
    }

    /// Creates a BOLT 11 invoice over `msat`.
    pub async fn invoice(&self, msat: u64) -> Result<AddInvoiceResponse> {
        let value_msat = i64::try_from(msat)?;
        let invoice = Invoice {
            value_msat,
            ..Default::default()
        };
        Ok(self
            .lightning
            .clone()
            .add_invoice(invoice)
            .await?
            .into_inner())
    }

    /// Creates a static invoice for any amount.
    pub async fn static_invoice(&self) -> Result<AddInvoiceResponse, Status> {
        let invoice = Invoice {
            is_amp: true,
            ..Default::default()
        };
        Ok(self
            .lightning
            .clone()
            .add_invoice(invoice)
            .await?
            .into_inner())
    }

    /// The invoices after `offset` (an add_index), oldest first.
    pub async fn invoices(&self, offset: u64) -> Result<ListInvoiceResponse, Status> {
        let request = ListInvoiceRequest {
            index_offset: offset,
            num_max_invoices: u64::from(u32::MAX),
            ..Default::default()
        };
        Ok(self
            .lightning
            .clone()
            .list_invoices(request)
            .await?
            .into_inner())
    }

    /// The payments after `offset` (a payment_index), oldest first, including those in flight.
    pub async fn payments(&self, offset: u64) -> Result<ListPaymentsResponse, Status> {
        let request = ListPaymentsRequest {
            include_incomplete: true,
            index_offset: offset,
            max_payments: u64::from(u32::MAX),
            ..Default::default()
        };
        Ok(self
            .lightning
            .clone()
            .list_payments(request)
            .await?
            .into_inner())
    }

    /// Pays, waits until the payment completes and returns its final state: succeeded or failed.
    ///
    /// # Errors
    /// If the node rejects the request or disconnects.
    pub async fn pay(&self, request: SendPaymentRequest) -> Result<Payment, Status> {
        let mut stream = self
            .router
            .clone()
            .send_payment_v2(request)
            .await?
            .into_inner();
        let mut last = None;
        while let Some(payment) = stream.message().await? {
            last = Some(payment);
        }
        last.ok_or_else(|| Status::unknown("the stream ended without a payment"))
    }
}

/// A request to pay `msat` to a public key (hex) with AMP.
pub fn amp_to(key: &str, msat: u64) -> Result<SendPaymentRequest> {
    Ok(SendPaymentRequest {
        dest: bytes(key)?,
        amt_msat: i64::try_from(msat)?,
        amp: true,
        ..limits()
    })
}

/// A request to pay a BOLT 11 invoice.
pub fn bolt11(invoice: &str) -> SendPaymentRequest {
    SendPaymentRequest {
        payment_request: invoice.to_owned(),
        ..limits()
    }
}

/// Timeout of a minute and generous fee limits, which these tests are not about.
fn limits() -> SendPaymentRequest {
    SendPaymentRequest {
        timeout_seconds: 60,
        fee_limit_sat: 100_000,
        ..Default::default()
    }
}

/// Decodes hex.
pub fn bytes(hex: &str) -> Result<Vec<u8>> {
    use bitcoin::hex::FromHex;
    Vec::from_hex(hex).with_context(|| format!("{hex:?} is not hexadecimal"))
}
