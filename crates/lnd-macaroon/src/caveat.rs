//! What narrows a macaroon: a point in time, an address, a range of addresses.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnet::IpNet;

/// What a call is like, as far as caveats ask for it.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub time: DateTime<Utc>,
    /// Where it comes from; `None` if that is not known, and then no caveat on addresses holds.
    pub from: Option<IpAddr>,
}

/// A caveat does not hold, or cannot be judged. Both refuse the call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaveatError {
    // The text is that of go-macaroon-bakery: clients know it.
    #[error("caveat {0:?} not satisfied: macaroon has expired")]
    Expired(String),
    #[error("caveat {0:?} not satisfied: macaroon locked to different IP address")]
    OtherAddress(String),
    #[error("caveat {0:?} not satisfied: macaroon locked to a different IP range")]
    OtherRange(String),
    #[error("caveat {0:?} not satisfied: its value cannot be read")]
    Malformed(String),
    #[error("caveat {0:?} not satisfied: caveat not recognized")]
    Unknown(String),
}

/// Checks that a caveat holds for a call.
///
/// Known are lnd's `time-before` (RFC 3339), `ipaddr` and `iprange` (CIDR). lnd takes `lnd-custom` only
/// with an interceptor that knows it; ampd has none and refuses it as any other condition.
///
/// # Errors
/// [`CaveatError`], with the caveat.
pub fn check(caveat: &[u8], call: &Call) -> Result<(), CaveatError> {
    let text = String::from_utf8_lossy(caveat).into_owned();
    match text.split_once(' ') {
        Some(("time-before", time)) => {
            let Ok(time) = DateTime::parse_from_rfc3339(time) else {
                return Err(CaveatError::Malformed(text));
            };
            holds(call.time < time, || CaveatError::Expired(text))
        }
        Some(("ipaddr", address)) => {
            let Ok(address) = address.parse::<IpAddr>() else {
                return Err(CaveatError::Malformed(text));
            };
            let is_same = call.from.map(|from| from.to_canonical()) == Some(address.to_canonical());
            holds(is_same, || CaveatError::OtherAddress(text))
        }
        Some(("iprange", range)) => {
            let Ok(range) = range.parse::<IpNet>() else {
                return Err(CaveatError::Malformed(text));
            };
            let from = call.from.map(|from| from.to_canonical());
            let is_within = from.is_some_and(|from| range.contains(&from));
            holds(is_within, || CaveatError::OtherRange(text))
        }
        _ => Err(CaveatError::Unknown(text)),
    }
}

fn holds(it_does: bool, error: impl FnOnce() -> CaveatError) -> Result<(), CaveatError> {
    if it_does { Ok(()) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(time: &str, from: &str) -> Call {
        Call {
            time: time.parse().unwrap(),
            from: from.parse().ok(),
        }
    }

    #[test]
    fn a_macaroon_is_good_before_its_time() {
        let caveat = b"time-before 2026-11-22T15:38:31.035560078Z";
        for (time, is_good) in [
            ("2026-11-22T15:38:31.035560077Z", true),
            ("2026-11-22T15:38:31.035560078Z", false),
            ("2026-11-22T15:38:32Z", false),
        ] {
            let checked = check(caveat, &call(time, ""));
            assert_eq!(checked.is_ok(), is_good, "{time}: {checked:?}");
        }
    }

    #[test]
    fn addresses_are_compared_in_whatever_form() {
        for (caveat, from, is_good) in [
            ("ipaddr 127.0.0.1", "127.0.0.1", true),
            ("ipaddr 127.0.0.1", "::ffff:127.0.0.1", true),
            ("ipaddr 127.0.0.1", "127.0.0.2", false),
            ("ipaddr ::1", "::1", true),
            ("ipaddr 0:0::1", "::1", true),
            ("ipaddr ::1", "127.0.0.1", false),
            ("ipaddr ::1", "unknown", false),
            ("iprange 10.0.0.0/8", "10.255.0.1", true),
            ("iprange 10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("iprange 10.0.0.0/8", "11.0.0.0", false),
            ("iprange 10.0.0.0/8", "unknown", false),
            ("iprange fd00::/8", "fd12::1", true),
            ("iprange fd00::/8", "fe00::1", false),
        ] {
            let checked = check(caveat.as_bytes(), &call("2026-01-01T00:00:00Z", from));
            assert_eq!(checked.is_ok(), is_good, "{caveat} {from}: {checked:?}");
        }
    }

    #[test]
    fn what_cannot_be_judged_refuses() {
        let call = call("2026-01-01T00:00:00Z", "127.0.0.1");
        for caveat in [
            "time-before",
            "time-before soon",
            "ipaddr x",
            "iprange 1.2.3.4/33",
        ] {
            assert!(check(caveat.as_bytes(), &call).is_err(), "{caveat}");
        }
        for caveat in [
            "",
            "lnd-custom my-condition value",
            "nonsense",
            "TIME-BEFORE 3000",
        ] {
            let error = CaveatError::Unknown(caveat.into());
            assert_eq!(check(caveat.as_bytes(), &call), Err(error));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let call = call("2026-01-01T00:00:00Z", "127.0.0.1");
            for condition in [&b""[..], b"time-before ", b"ipaddr ", b"iprange "] {
                let _ = check(&[condition, &bytes].concat(), &call);
            }
        }
    }
}
