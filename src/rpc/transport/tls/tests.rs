//! Real handshakes with a certificate that is replaced while the server runs.

use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use super::*;

/// A TLS server that runs until the test ends, and the directory of its files.
struct Server {
    directory: tempfile::TempDir,
    tls: Tls,
    address: std::net::SocketAddr,
}

impl Server {
    async fn started_at(now: SystemTime) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let names = Names {
            addresses: ["127.0.0.1".parse().unwrap()].into(),
            domains: ["localhost".to_owned()].into(),
        };
        let tls = Tls::open_at(directory.path(), &names, now).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = tls.acceptor(&["h2"]);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                // Fails if the client does not trust the certificate.
                let _ = acceptor.accept(connection).await;
            }
        });
        Self {
            directory,
            tls,
            address,
        }
    }

    /// Connects with a client that trusts the current tls.cert and has the real time.
    async fn connects(&self) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        let file = self
            .directory
            .path()
            .join(lnd_api::layout::CERTIFICATE_FILE);
        roots
            .add(CertificateDer::from_pem_file(file).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let host = ServerName::try_from("localhost").unwrap();
        let connected = TlsConnector::from(Arc::new(config)).connect(host, stream);
        connected.await.map(drop).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn expired_certificate_is_replaced_at_run_time() {
    let server = Server::started_at(SystemTime::UNIX_EPOCH + Duration::from_secs(90)).await;
    let refused = server.connects().await.unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
    assert!(server.tls.check(SystemTime::now()).unwrap());
    assert_eq!(server.connects().await, Ok(()));
    assert!(!server.tls.check(SystemTime::now()).unwrap());
}

#[tokio::test]
async fn future_certificate_is_replaced_at_run_time() {
    let decades = Duration::from_secs(20 * 365 * 86_400);
    let server = Server::started_at(SystemTime::now() + decades).await;
    let refused = server.connects().await.unwrap_err();
    assert!(refused.contains("not valid yet"), "{refused}");
    assert!(server.tls.check(SystemTime::now()).unwrap());
    assert_eq!(server.connects().await, Ok(()));
}

#[tokio::test]
async fn foreign_certificate_is_loaded_and_never_replaced() {
    let server = Server::started_at(SystemTime::now()).await;
    let foreign = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| {
        std::fs::write(server.directory.path().join(name), text).unwrap();
    };
    write(lnd_api::layout::CERTIFICATE_FILE, foreign.cert.pem());
    // A certificate without its key is an error, and the current pair stays in use.
    assert!(server.tls.check(SystemTime::now()).is_err());
    write("tls.key", foreign.signing_key.serialize_pem());
    assert!(server.tls.check(SystemTime::now()).unwrap());
    assert_eq!(server.connects().await, Ok(()));
    let centuries = Duration::from_secs(3_000 * 365 * 86_400);
    assert!(!server.tls.check(SystemTime::now() + centuries).unwrap());
}
