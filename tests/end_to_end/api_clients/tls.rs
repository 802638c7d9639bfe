//! TLS connections to a node, for clients that send something unusual afterwards.

use std::sync::Arc;

use anyhow::Result;
use regtest::node::Node;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is needed to open a TLS connection to a node.
#[derive(Clone)]
pub(super) struct TlsClient {
    config: ClientConfig,
}

impl TlsClient {
    pub(super) fn of(node: &Node) -> Result<Self> {
        Self::with_versions(node, ALL_VERSIONS)
    }

    /// For clients that support only these versions of TLS.
    pub(super) fn with_versions(
        node: &Node,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let certificate = node.certificate()?;
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config })
    }

    /// Connects with an ALPN protocol such as "h2".
    pub(super) async fn connect(
        &self,
        address: &str,
        protocol: &str,
    ) -> Result<TlsStream<TcpStream>> {
        let mut config = self.config.clone();
        config.alpn_protocols = vec![protocol.into()];
        let stream = TcpStream::connect(address).await?;
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost")?;
        Ok(connector.connect(name, stream).await?)
    }
}
