//! Any text as a REST request: method, path with query, and body, on one line each.
#![no_main]

use ampd::rpc::rest_message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (verb, target) = (text(), text());
    let body = parts.next().unwrap_or_default();
    let _ = rest_message(&verb, &target, body);
});
