//! A client of ampd's REST interface that sends requests exactly as given.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, Engine};
use bitcoin::hex::DisplayHex;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::task::AbortOnDropHandle;

use crate::node::Node;
use crate::socket::{SILENCE, Socket};

/// A node's REST interface and a macaroon for it.
pub struct Rest {
    address: String,
    macaroon: String,
    tls: TlsConnector,
}

/// A complete response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

impl Answer {
    /// The body of a successful call, as JSON.
    pub fn json(&self) -> Result<Value> {
        if self.status != 200 {
            bail!("HTTP {}: {}", self.status, self.text);
        }
        serde_json::from_str(&self.text).with_context(|| self.text.clone())
    }

    /// The messages of a streaming response, one per line.
    pub fn lines(&self) -> Result<Vec<Value>> {
        let lines = self.text.lines().map(serde_json::from_str);
        lines
            .collect::<Result<_, _>>()
            .with_context(|| self.text.clone())
    }
}

impl Rest {
    /// Uses one of the node's macaroon files.
    pub fn of(node: &Node, macaroon: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(
            node.certificate()?.as_bytes(),
        )?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            address: node.rest_address()?,
            macaroon: node.macaroon(macaroon)?.to_lower_hex_string(),
            tls: TlsConnector::from(Arc::new(config)),
        })
    }

    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, "", "application/json").await
    }

    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send("DELETE", path, "", "application/json").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send("POST", path, &body.to_string(), "application/json")
            .await
    }

    /// Sends a request and reads the whole response.
    pub async fn send(
        &self,
        verb: &str,
        path: &str,
        body: &str,
        content_type: &str,
    ) -> Result<Answer> {
        let mut lines = self.follow(verb, path, body, content_type).await?;
        Ok(Answer {
            status: lines.status,
            text: lines.rest().await?,
        })
    }

    /// Sends a GET request and returns the open response.
    pub async fn stream(&self, path: &str) -> Result<Lines> {
        self.follow("GET", path, "", "application/json").await
    }

    /// Like `stream`, with DELETE.
    pub async fn delete_stream(&self, path: &str) -> Result<Lines> {
        self.follow("DELETE", path, "", "application/json").await
    }

    /// Like `stream`, with POST.
    pub async fn post_stream(&self, path: &str, body: &Value) -> Result<Lines> {
        let body = body.to_string();
        self.follow("POST", path, &body, "application/json").await
    }

    async fn follow(
        &self,
        verb: &str,
        path: &str,
        body: &str,
        content_type: &str,
    ) -> Result<Lines> {
        let request = Request::builder()
            .method(verb)
            .uri(path)
            .header(header::HOST, &self.address)
            .header(header::CONTENT_TYPE, content_type)
            .header("Grpc-Metadata-macaroon", &self.macaroon)
            .body(Full::new(Bytes::from(body.to_owned())))?;
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let answer = sender.send_request(request).await?;
        Ok(Lines {
            status: answer.status().as_u16(),
            body: answer.into_body(),
            read: Vec::new(),
            _connection: connection,
        })
    }

    /// Opens a WebSocket for a path, as wallets do.
    pub async fn socket(&self, path: &str) -> Result<Socket> {
        let mut request = format!("wss://localhost{path}").into_client_request()?;
        let macaroon = self.macaroon.parse()?;
        request
            .headers_mut()
            .insert("Grpc-Metadata-Macaroon", macaroon);
        Socket::open(request, self.connect().await?).await
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        let name = ServerName::try_from("localhost")?;
        Ok(self.tls.connect(name, stream).await?)
    }
}

/// A streaming response, read line by line.
pub struct Lines {
    pub status: u16,
    body: Incoming,
    /// Data received but not read yet.
    read: Vec<u8>,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

impl Lines {
    /// Returns the next line with its newline; an error if the response ends first.
    pub async fn next(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let rest = self.read.split_off(end + 1);
                return Ok(String::from_utf8(std::mem::replace(&mut self.read, rest))?);
            }
            let more = self.more().await?.context("the response has ended")?;
            self.read.extend(more);
        }
    }

    /// Reads the rest of the response.
    pub async fn rest(&mut self) -> Result<String> {
        while let Some(more) = self.more().await? {
            self.read.extend(more);
        }
        Ok(String::from_utf8(std::mem::take(&mut self.read))?)
    }

    async fn more(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = timeout(SILENCE, self.body.frame()).await? {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Converts base64 as used in bodies to base64url as used in paths and queries.
pub fn url_safe(base64: &str) -> Result<String> {
    Ok(BASE64_URL_SAFE.encode(BASE64_STANDARD.decode(base64)?))
}

/// Converts base64 to hex.
pub fn hex(base64: &str) -> Result<String> {
    Ok(BASE64_STANDARD.decode(base64)?.to_lower_hex_string())
}

/// Converts hex to base64.
pub fn base64(hex: &str) -> Result<String> {
    let bytes: Vec<u8> = bitcoin::hex::FromHex::from_hex(hex)?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// Checks that these members exist (`a.b`, `list[].c`); lists may be empty.
pub fn has(json: &Value, members: &[&str]) -> Result<()> {
    members
        .iter()
        .try_for_each(|path| has_one(json, path).with_context(|| format!("no {path} in {json:#}")))
}

fn has_one(json: &Value, path: &str) -> Option<()> {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    if let Some(name) = name.strip_suffix("[]") {
        let items = json.get(name)?.as_array()?;
        return items.iter().try_for_each(|item| match rest {
            "" => Some(()),
            rest => has_one(item, rest),
        });
    }
    let member = json.get(name).filter(|member| !member.is_null())?;
    match rest {
        "" => Some(()),
        rest => has_one(member, rest),
    }
}
