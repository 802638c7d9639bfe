//! `lndconnect`: address, certificate and macaroon in one link, which wallets such as Zeus read from a QR
//! code.

use std::str::FromStr;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::connection::{Target, read_certificate, read_macaroon};
use super::error::{CliError, error};
use super::macaroon_files::Restrictions;
use super::output::{print_note, print_text};
use super::qr::ImageFile;
use ampd_text::qr::Code;
use lnd_api::layout::HostPort;

/// Of the REST interface, which most wallets use.
const DEFAULT_PORT: u16 = 8080;

/// Create a link and QR code (lndconnect) for connecting a wallet to this node.
///
/// The link contains the macaroon: anyone who sees it can use the node.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct LndConnect {
    /// Where the wallet reaches the node (host[:port]); REST has port 8080, gRPC 10009
    #[arg(long, default_value = "localhost:8080")]
    host: String,
    /// Leave out the certificate, for a node behind a proxy that has one of its own
    #[arg(long)]
    nocert: bool,
    /// Only print the link, without drawing its QR code in the terminal
    #[arg(long)]
    url: bool,
    /// Write the QR code to this file: x.svg or x.png
    #[arg(long, value_name = "FILE", value_parser = ImageFile::from_str)]
    qr_file: Option<ImageFile>,
    #[command(flatten)]
    restrictions: Restrictions,
}

impl LndConnect {
    pub fn run(&self, target: &Target) -> Result<(), CliError> {
        let Some(host) = HostPort::parse(&self.host, DEFAULT_PORT) else {
            return error(format!(
                "--host {:?} is not of the form host:port",
                self.host
            ));
        };
        let certificate = match self.nocert {
            true => None,
            false => Some(read_certificate(&target.certificate_path()?)?),
        };
        let macaroon = read_macaroon(&target.macaroon_path()?)?;
        let macaroon = self.restrictions.added_to(macaroon).encode();
        let link = link(&host, certificate.as_deref(), &macaroon)?;
        print_text(&format!("{link}\n"))?;
        let code = Code::of_text(&link)?;
        if let Some(file) = &self.qr_file {
            file.write(&code)?;
        }
        match self.url {
            true => Ok(()),
            false => print_note(&code.terminal()),
        }
    }
}

/// As the lndconnect format has it: the certificate's DER and the macaroon, both base64url.
fn link(host: &HostPort, pem: Option<&[u8]>, macaroon: &[u8]) -> Result<String, CliError> {
    let mut parameters = Vec::new();
    if let Some(pem) = pem {
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| {
            CliError::Text(format!("the TLS certificate cannot be read: {error}"))
        })?;
        parameters.push(format!(
            "cert={}",
            BASE64_URL_SAFE_NO_PAD.encode(&certificate)
        ));
    }
    parameters.push(format!(
        "macaroon={}",
        BASE64_URL_SAFE_NO_PAD.encode(macaroon)
    ));
    Ok(format!("lndconnect://{host}?{}", parameters.join("&")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_holds_all_that_a_wallet_needs() {
        let host = HostPort::parse("node.example", DEFAULT_PORT).unwrap();
        let pem = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .unwrap()
            .cert;
        let certificate = BASE64_URL_SAFE_NO_PAD.encode(pem.der());
        let linked = link(&host, Some(pem.pem().as_bytes()), &[2, 1, 0xff]).unwrap();
        let expected = format!("lndconnect://node.example:8080?cert={certificate}&macaroon=AgH_");
        assert_eq!(linked, expected);
        let bare = link(&host, None, &[2]).unwrap();
        assert_eq!(bare, "lndconnect://node.example:8080?macaroon=Ag");
        assert!(link(&host, Some(b"nonsense"), &[2]).is_err());
    }
}
