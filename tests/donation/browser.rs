//! Headless Chromium controlled through WebDriver with JSON requests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Chromium and its WebDriver.
pub(crate) const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];
/// Output of chromedriver before its port.
const ON_PORT: &str = "started successfully on port ";

/// A browser with one page, which exits when this is dropped.
pub(crate) struct Browser {
    session: String,
    sender: SendRequest<Full<Bytes>>,
    driver: Child,
    _profile: tempfile::TempDir,
}

/// The screen on which a page is displayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub name: &'static str,
    pub width: u32,
    pub height: u32,
    pub is_phone: bool,
    pub is_dark: bool,
}

impl Browser {
    pub(crate) async fn start() -> Result<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let port = port(&mut driver)?;
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let profile = tempfile::tempdir()?;
        let mut browser = Self {
            session: String::new(),
            sender,
            driver,
            _profile: profile,
        };
        browser.open_session().await?;
        Ok(browser)
    }

    async fn open_session(&mut self) -> Result<()> {
        let profile = self._profile.path().display();
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--force-device-scale-factor=1", format!("--user-data-dir={profile}"),
            ],
        });
        let always = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let request = json!({ "capabilities": { "alwaysMatch": always } });
        let session = self.send(Method::POST, "/session", &request).await?;
        let id = session["sessionId"]
            .as_str()
            .context("the response has no sessionId")?;
        self.session = format!("/session/{id}");
        Ok(())
    }

    pub(crate) async fn go(&mut self, url: &str) -> Result<()> {
        self.post("/url", &json!({ "url": url })).await.map(drop)
    }

    /// Runs a script in the page; `return` sets the result.
    pub(crate) async fn run(&mut self, script: &str) -> Result<Value> {
        let request = json!({ "script": script, "args": [] });
        self.post("/execute/sync", &request).await
    }

    /// Runs a script that passes its result to `done`.
    pub(crate) async fn wait(&mut self, script: &str) -> Result<Value> {
        let script = format!("const done = arguments[0];\n{script}");
        let request = json!({ "script": script, "args": [] });
        self.post("/execute/async", &request).await
    }

    /// Waits until a change of the page makes a condition true.
    pub(crate) async fn wait_until(&mut self, condition: &str) -> Result<()> {
        let script = format!(
            "const met = () => {condition};
             if (met()) return done(true);
             const seen = new MutationObserver(() => {{ if (met()) {{ seen.disconnect(); done(true); }} }});
             seen.observe(document.body, {{ subtree: true, childList: true, characterData: true }});"
        );
        let what = format!("waiting until {condition}");
        self.wait(&script).await.context(what).map(drop)
    }

    /// Waits until the text of an element contains `text`.
    pub(crate) async fn wait_for_text(&mut self, selector: &str, text: &str) -> Result<()> {
        let said = format!("document.querySelector({selector:?})?.textContent.includes({text:?})");
        self.wait_until(&said).await
    }

    /// Returns the text of an element.
    pub(crate) async fn text(&mut self, selector: &str) -> Result<String> {
        let script = format!("return document.querySelector({selector:?}).textContent");
        let text = self.run(&script).await?;
        Ok(text.as_str().context("the element has no text")?.to_owned())
    }

    /// Clicks an element with the mouse.
    pub(crate) async fn click(&mut self, selector: &str) -> Result<()> {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.post("/element", &by).await?;
        let id = found.as_object().and_then(|found| found.values().next());
        let id = id
            .and_then(Value::as_str)
            .context("the element was not found")?;
        self.post(&format!("/element/{id}/click"), &json!({}))
            .await
            .map(drop)
    }

    /// Console messages: failed scripts and violations of the content security policy.
    pub(crate) async fn complaints(&mut self) -> Result<Vec<String>> {
        let log = self.post("/se/log", &json!({ "type": "browser" })).await?;
        let lines = log.as_array().context("the response has no log")?.iter();
        Ok(lines.map(|line| line["message"].to_string()).collect())
    }

    /// Runs a command of the Chrome DevTools protocol.
    pub(crate) async fn devtools(&mut self, command: &str, params: Value) -> Result<Value> {
        let request = json!({ "cmd": command, "params": params });
        self.post("/goog/cdp/execute", &request).await
    }

    /// Switches to this screen.
    pub(crate) async fn use_screen(&mut self, screen: Screen) -> Result<()> {
        let size = json!({
            "width": screen.width,
            "height": screen.height,
            "deviceScaleFactor": if screen.is_phone { 2 } else { 1 },
            "mobile": screen.is_phone,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await?;
        let scheme = if screen.is_dark { "dark" } else { "light" };
        let media = json!({
            "features": [{ "name": "prefers-color-scheme", "value": scheme }],
        });
        self.devtools("Emulation.setEmulatedMedia", media)
            .await
            .map(drop)
    }

    /// Takes a screenshot of the screen as PNG.
    pub(crate) async fn screenshot(&mut self) -> Result<Vec<u8>> {
        let path = format!("{}/screenshot", self.session);
        let image = self.send(Method::GET, &path, &Value::Null).await?;
        Ok(BASE64_STANDARD.decode(image.as_str().context("the response has no image")?)?)
    }

    /// Saves a screenshot of the whole page, including what is below the screen.
    pub(crate) async fn keep_screenshot(&mut self, name: &str) -> Result<()> {
        let whole = json!({ "captureBeyondViewport": true });
        let size = self.devtools("Page.getLayoutMetrics", json!({})).await?;
        let size = &size["cssContentSize"];
        let clip = json!({
            "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1,
        });
        let mut params = whole;
        params["clip"] = clip;
        let image = self.devtools("Page.captureScreenshot", params).await?;
        let image = image["data"]
            .as_str()
            .context("the response has no image")?;
        let directory = artifacts();
        fs::create_dir_all(&directory)?;
        let file = directory.join(format!("{name}.png"));
        Ok(fs::write(file, BASE64_STANDARD.decode(image)?)?)
    }

    async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let path = format!("{}{path}", self.session);
        self.send(Method::POST, &path, body).await
    }

    async fn send(&mut self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "127.0.0.1")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        let mut answer: Value = serde_json::from_slice(&bytes)?;
        ensure!(
            status.is_success(),
            "{path}: {}",
            answer["value"]["message"]
        );
        Ok(answer["value"].take())
    }
}

impl Drop for Browser {
    /// The driver terminates its browser when it is shut down.
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.driver.wait();
    }
}

fn port(driver: &mut Child) -> Result<u16> {
    let stdout = driver.stdout.take().context("stdout is not captured")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.contains(ON_PORT))
        .context("chromedriver did not start")?;
    // Further output must not block it.
    std::thread::spawn(move || lines.for_each(drop));
    let (_, port) = line.split_once(ON_PORT).context("the output has no port")?;
    Ok(port.trim_end_matches('.').parse()?)
}

/// The directory for screenshots.
pub(crate) fn artifacts() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("donation")
}

/// Decodes the only QR code in an image.
pub(crate) fn qr_text(png: &[u8]) -> Result<String> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
    decoder.set_transformations(png::Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("too large")?];
    let info = reader.next_frame(&mut pixels)?;
    let (width, height) = (info.width as usize, info.height as usize);
    let samples = info.color_type.samples();
    let grey = |x: usize, y: usize| pixels[(y * width + x) * samples];
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
    let texts: Vec<String> = image
        .detect_grids()
        .iter()
        .filter_map(|grid| Some(grid.decode().ok()?.1))
        .collect();
    ensure!(
        texts.len() == 1,
        "expected one QR code, found {}",
        texts.len()
    );
    Ok(texts.into_iter().next().unwrap_or_default())
}
