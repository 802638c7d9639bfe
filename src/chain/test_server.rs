//! An HTTP server with canned responses, for tests of the bitcoind client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bitcoin::Network;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Bitcoind, RpcAddress, RpcAuth};

/// The server's response to one call.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends these bytes, then closes the connection.
    Raw(Vec<u8>),
    /// Sends nothing and keeps the connection open.
    Silence,
}

impl Reply {
    pub(crate) fn result(result: Value) -> Self {
        Self::json(
            "200 OK",
            &json!({"result": result, "error": null, "id": "0"}),
        )
    }

    pub(crate) fn error(code: i64, message: &str) -> Self {
        let error = json!({"code": code, "message": message});
        let body = json!({"result": null, "error": error, "id": "0"});
        Self::json("500 Internal Server Error", &body)
    }

    pub(crate) fn empty(status: &str) -> Self {
        Self::Raw(
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .into_bytes(),
        )
    }

    fn json(status: &str, body: &Value) -> Self {
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Self::Raw((head + &body).into_bytes())
    }
}

/// Responds to calls and records the requests.
pub(crate) struct TestServer {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// One call.
struct Request {
    method: String,
    params: Value,
    credentials: String,
}

impl TestServer {
    /// Starts a server that sends the given replies in turn, repeating the last one.
    pub(crate) fn start(replies: Vec<Reply>) -> Self {
        Self::answering(move |call, _| replies[call.min(replies.len() - 1)].clone())
    }

    /// Starts a server whose replies depend on the method.
    pub(crate) fn by_method(reply: impl Fn(&str) -> Reply + Send + 'static) -> Self {
        Self::answering(move |_, method| reply(method))
    }

    fn answering(reply: impl Fn(usize, &str) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                answer(stream, &reply, &recorded, &mut held);
            }
        });
        Self { port, requests }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn bitcoind(&self) -> Bitcoind {
        bitcoind_at(self.port, user_password())
    }

    /// The methods of the calls received.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|request| request.method.clone())
            .collect()
    }

    /// The parameters of the calls received.
    pub(crate) fn params(&self) -> Vec<Value> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|request| request.params.clone())
            .collect()
    }

    /// The Authorization headers received.
    pub(crate) fn credentials(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|request| request.credentials.clone())
            .collect()
    }
}

pub(crate) fn user_password() -> RpcAuth {
    let password = Zeroizing::new("password".to_owned());
    RpcAuth::UserPassword {
        user: "user".to_owned(),
        password,
    }
}

pub(crate) fn bitcoind_at(port: u16, auth: RpcAuth) -> Bitcoind {
    let address = RpcAddress {
        host: "127.0.0.1".to_owned(),
        port,
    };
    Bitcoind::new(address, auth, Network::Regtest).with_limit(Duration::from_secs(2))
}

/// A client for a port on which nothing listens.
pub(crate) fn unreachable_bitcoind() -> Bitcoind {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    bitcoind_at(listener.local_addr().unwrap().port(), user_password())
}

fn answer(
    mut stream: TcpStream,
    reply: &impl Fn(usize, &str) -> Reply,
    requests: &Mutex<Vec<Request>>,
    held: &mut Vec<TcpStream>,
) {
    // The client may open a connection that it does not use.
    let Some(request) = read_request(&stream) else {
        return;
    };
    let method = request.method.clone();
    let call = {
        let mut requests = requests.lock().unwrap();
        requests.push(request);
        requests.len() - 1
    };
    match reply(call, &method) {
        Reply::Raw(bytes) => {
            let _ = stream.write_all(&bytes);
        }
        Reply::Silence => held.push(stream),
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(stream);
    let (mut length, mut credentials) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                credentials = value.to_owned();
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    Some(Request {
        method: body["method"].as_str()?.to_owned(),
        params: body["params"].clone(),
        credentials,
    })
}
