//! TLS for gRPC and REST, with lnd's file names and TLS versions (1.2 and 1.3).

mod certificate;
mod renewal;

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

pub use certificate::Names;
use certificate::{Clock, Identity};
pub(in crate::rpc) use renewal::keep_valid;

use crate::sync::{read, write};
use ampd_files::FileError;

/// Errors of reading, creating or using the TLS certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot use {0}; check its permissions and the free space")]
    File(#[from] FileError),
    #[error(
        "tls.cert in the data directory does not contain a certificate ({0}); delete tls.cert and \
         tls.key, and ampd creates new ones"
    )]
    Unreadable(String),
    #[error(
        "tls.cert and tls.key in the data directory cannot be used ({0}); delete both, and ampd \
         creates new ones"
    )]
    Unusable(String),
    #[error("cannot create a TLS certificate: {0}; check `tls-extra-domain`")]
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

/// The TLS server configuration, with the certificate and key in a directory.
pub struct Tls {
    config: ServerConfig,
    current: Arc<Current>,
    directory: PathBuf,
    names: Names,
}

impl Tls {
    /// Reads the certificate and key, or creates them.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn open(directory: &Path, names: &Names) -> Result<Self, TlsError> {
        Self::open_at(directory, names, SystemTime::now())
    }

    fn open_at(directory: &Path, names: &Names, now: SystemTime) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let identity = certificate::identity(directory, names, now, Clock::JustStarted)?;
        let current = Arc::new(Current::new(certified(&identity, &provider)?));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::unusable(&error))?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        Ok(Self {
            config,
            current,
            directory: directory.to_owned(),
            names: names.clone(),
        })
    }

    /// Reloads the certificate and key, and renews a certificate of ours that is not valid at `now` or
    /// expires soon. New connections use the result. Returns true if the certificate changed.
    ///
    /// # Errors
    /// [`TlsError`]; the current certificate stays in use.
    pub fn check(&self, now: SystemTime) -> Result<bool, TlsError> {
        let identity = certificate::identity(&self.directory, &self.names, now, Clock::Running)?;
        let found = certified(&identity, self.config.crypto_provider())?;
        Ok(self.current.replace(found))
    }

    /// Returns an acceptor for connections with one of these ALPN protocols.
    pub(in crate::rpc) fn acceptor(&self, protocols: &[&str]) -> TlsAcceptor {
        let mut config = self.config.clone();
        config.alpn_protocols = protocols.iter().map(|name| (*name).into()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Parses the certificate and key. Fails if they do not match, as while the operator replaces the two files.
fn certified(identity: &Identity, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&identity.certificate).collect();
    let chain = chain.map_err(|error| TlsError::unreadable(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&identity.key);
    let key = key.map_err(|error| TlsError::unusable(&error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| TlsError::unusable(&error))
}

/// The certificate for new connections.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn new(key: CertifiedKey) -> Self {
        Self(RwLock::new(Arc::new(key)))
    }

    /// Sets the certificate. Returns true if it changed.
    fn replace(&self, key: CertifiedKey) -> bool {
        let mut current = write(&self.0);
        let is_new = current.cert != key.cert;
        *current = Arc::new(key);
        is_new
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = read(&self.0);
        Some(current.clone())
    }
}

#[cfg(test)]
mod tests;
