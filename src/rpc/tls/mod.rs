//! TLS for both interfaces: lnd's files, lnd's versions (1.2 and 1.3).

mod certificate;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

pub use certificate::{CERTIFICATE_FILE, Names};

use crate::files::FileError;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot use {0}; check its permissions and the free space")]
    File(#[from] FileError),
    #[error(
        "tls.cert in the data directory holds no certificate ({0}); delete tls.cert and tls.key, and \
         ampd makes new ones"
    )]
    Unreadable(String),
    #[error(
        "tls.cert and tls.key in the data directory cannot be used ({0}); delete both, and ampd makes \
         new ones"
    )]
    Unusable(String),
    #[error("cannot make a TLS certificate: {0}; check `tls-extra-domain`")]
    Make(#[from] rcgen::Error),
}

impl TlsError {
    fn unreadable(error: &impl ToString) -> Self {
        Self::Unreadable(error.to_string())
    }

    fn unusable(error: &impl ToString) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// The node's end of TLS connections, for the identity in `directory`.
pub struct Tls(ServerConfig);

impl Tls {
    /// Reads or makes the identity.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(directory: &Path, names: &Names) -> Result<Self, TlsError> {
        let identity = certificate::identity(directory, names, SystemTime::now())?;
        let chain: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(&identity.certificate).collect();
        let chain = chain.map_err(|error| TlsError::unreadable(&error))?;
        let key = PrivateKeyDer::from_pem_slice(&identity.key);
        let key = key.map_err(|error| TlsError::unusable(&error))?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::unusable(&error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::unusable(&error))?;
        Ok(Self(config))
    }

    /// Takes connections that speak one of these protocols (ALPN).
    pub(super) fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        let mut config = self.0.clone();
        config.alpn_protocols = protocols.iter().map(|name| (*name).into()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
