//! `lndconnect`: a link with address, certificate and macaroon, which wallets such as Zeus scan as a QR
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

/// The port of the REST API, which most wallets use.
const DEFAULT_PORT: u16 = 8080;

/// Create an lndconnect link and QR code with which a wallet connects to this node.
///
/// The link contains the macaroon: anyone who sees it has all permissions of that macaroon.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct LndConnect {
    /// Address (host[:port]) at which the wallet reaches the node; port 8080 is REST, 10009 gRPC
    #[arg(long, default_value = "localhost:8080")]
    host: String,
    /// Omit the TLS certificate, for a node behind a proxy with its own certificate
    #[arg(long)]
    nocert: bool,
    /// Print only the link, without drawing a QR code in the terminal
    #[arg(long)]
    url: bool,
    /// Output file for the QR code (.svg or .png)
    #[arg(long, value_name = "FILE", value_parser = ImageFile::from_str)]
    qr_file: Option<ImageFile>,
    #[command(flatten)]
    restrictions: Restrictions,
}

impl LndConnect {
    pub(crate) fn run(&self, target: &Target) -> Result<(), CliError> {
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

/// Returns the link in the lndconnect format: the certificate (DER) and the macaroon in base64url.
fn link(host: &HostPort, pem: Option<&[u8]>, macaroon: &[u8]) -> Result<String, CliError> {
    let mut parameters = Vec::new();
    if let Some(pem) = pem {
        let certificate = CertificateDer::from_pem_slice(pem).map_err(|error| {
            CliError::Text(format!("cannot parse the TLS certificate: {error}"))
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
    fn link_contains_address_certificate_and_macaroon() {
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
