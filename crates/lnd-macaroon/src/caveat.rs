//! Caveats that restrict a macaroon: an expiry time, an IP address or an IP range.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnet::IpNet;

/// The properties of a call that caveats restrict.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The time of the call.
    pub time: DateTime<Utc>,
    /// The client's IP address; `None` if unknown, in which case caveats on addresses fail.
    pub from: Option<IpAddr>,
}

/// A caveat does not hold or cannot be evaluated. In both cases the call must be refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaveatError {
    // The text is that of go-macaroon-bakery, because clients match on it.
    /// `time-before` is in the past.
    #[error("caveat {0:?} not satisfied: macaroon has expired")]
    Expired(String),
    /// `ipaddr` is not the address of the client.
    #[error("caveat {0:?} not satisfied: macaroon locked to different IP address")]
    OtherAddress(String),
    /// `iprange` does not contain the address of the client.
    #[error("caveat {0:?} not satisfied: macaroon locked to a different IP range")]
    OtherRange(String),
    /// The value of the condition cannot be parsed.
    #[error("caveat {0:?} not satisfied: invalid value")]
    Malformed(String),
    /// The condition is not known.
    #[error("caveat {0:?} not satisfied: caveat not recognized")]
    Unknown(String),
}

/// Checks that a caveat holds for a call.
///
/// Supports lnd's `time-before` (RFC 3339), `ipaddr` and `iprange` (CIDR). All other conditions are
/// refused, including `lnd-custom`, which lnd accepts only if an RPC middleware handles it.
///
/// # Errors
/// [`CaveatError`] if the caveat does not hold.
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

fn holds(is_satisfied: bool, error: impl FnOnce() -> CaveatError) -> Result<(), CaveatError> {
    if is_satisfied { Ok(()) } else { Err(error()) }
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
    fn time_before_excludes_its_own_instant() {
        let caveat = b"time-before 2026-11-22T15:38:31.035560078Z";
        for (time, is_valid) in [
            ("2026-11-22T15:38:31.035560077Z", true),
            ("2026-11-22T15:38:31.035560078Z", false),
            ("2026-11-22T15:38:32Z", false),
        ] {
            let checked = check(caveat, &call(time, ""));
            assert_eq!(checked.is_ok(), is_valid, "{time}: {checked:?}");
        }
    }

    #[test]
    fn compares_addresses_in_canonical_form() {
        for (caveat, from, is_valid) in [
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
            assert_eq!(checked.is_ok(), is_valid, "{caveat} {from}: {checked:?}");
        }
    }

    #[test]
    fn rejects_malformed_and_unknown_caveats() {
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
        fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let call = call("2026-01-01T00:00:00Z", "127.0.0.1");
            for condition in [&b""[..], b"time-before ", b"ipaddr ", b"iprange "] {
                let _ = check(&[condition, &bytes].concat(), &call);
            }
        }
    }
}
