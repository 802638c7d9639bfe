//! TLS versions supported for clients.

use anyhow::Result;
use regtest::network::Network;
use regtest::node::Software::Ampd;
use rustls::version::{TLS12, TLS13};

use super::tls::TlsClient;
use crate::binaries;

/// Older runtimes, such as .NET on an older system, support only TLS 1.2.
#[tokio::test]
async fn supports_tls_1_2_and_1_3() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    for (version, protocols) in [(&TLS12, ["h2", "http/1.1"]), (&TLS13, ["h2", "http/1.1"])] {
        let tls = TlsClient::with_versions(node, &[version])?;
        for protocol in protocols {
            let stream = tls.connect(&node.rest_address()?, protocol).await?;
            let (_, tls) = stream.get_ref();
            assert_eq!(tls.protocol_version(), Some(version.version));
            assert_eq!(tls.alpn_protocol(), Some(protocol.as_bytes()));
        }
        tls.connect(node.rpc_address()?, "h2").await?;
    }
    network.finish();
    Ok(())
}
