//! The first bytes of a connection, for callers that say something else after them.

use std::sync::Arc;

use anyhow::Result;
use regtest::node::Node;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What it takes to encrypt a connection to a node.
#[derive(Clone)]
pub(super) struct Door {
    config: ClientConfig,
}

impl Door {
    pub(super) fn of(node: &Node) -> Result<Self> {
        Self::with_versions(node, ALL_VERSIONS)
    }

    /// For callers that know these versions of TLS only.
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

    /// Connects for a protocol, such as "h2".
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
