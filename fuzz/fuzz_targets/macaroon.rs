//! Decodes any bytes as a macaroon, parses its identifier and caveats, and encodes it again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lnd_macaroon::Macaroon;
use lnd_macaroon::caveat::{Call, check};

fuzz_target!(|bytes: &[u8]| {
    let call = Call {
        time: Default::default(),
        from: Some([127, 0, 0, 1].into()),
    };
    let _ = check(bytes, &call);
    let Ok(macaroon) = Macaroon::decode(bytes) else {
        return;
    };
    let _ = macaroon.id().map(|id| id.encode());
    for caveat in macaroon.caveats() {
        let _ = check(caveat, &call);
    }
    let again = Macaroon::decode(&macaroon.encode()).expect("an encoded macaroon can be decoded");
    assert!(again == macaroon);
});
