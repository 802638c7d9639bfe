//! Macaroon commands that need no node: `printmacaroon`, `constrainmacaroon`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bitcoin::hex::{DisplayHex, FromHex};
use chrono::{SecondsFormat, Utc};
use clap::Args;
use ipnet::IpNet;
use serde_json::json;

use super::connection::{expanded, read_macaroon};
use super::error::{CliError, error};
use super::output::{print_json, print_text};
use ampd_files::Readers;
use lnd_macaroon::Macaroon;

/// Flags that restrict a macaroon by caveats. Any holder can add caveats; they cannot be removed.
#[derive(Clone, Debug, Default, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct Restrictions {
    /// Lifetime of the macaroon, from now (seconds)
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,
    /// Client IP address to which the macaroon is restricted
    #[arg(long)]
    ip_address: Option<IpAddr>,
    /// Range of client IP addresses to which the macaroon is restricted, e.g. 192.168.1.0/24
    #[arg(long)]
    ip_range: Option<IpNet>,
}

impl Restrictions {
    /// Returns the macaroon with the restrictions added as caveats.
    pub(crate) fn added_to(&self, mut macaroon: Macaroon) -> Macaroon {
        if let Some(seconds) = self.timeout {
            let end = Utc::now() + Duration::from_secs(seconds.into());
            let end = end.to_rfc3339_opts(SecondsFormat::Nanos, true);
            macaroon = macaroon.with_caveat(&format!("time-before {end}"));
        }
        if let Some(address) = self.ip_address {
            macaroon = macaroon.with_caveat(&format!("ipaddr {address}"));
        }
        if let Some(range) = self.ip_range {
            macaroon = macaroon.with_caveat(&format!("iprange {range}"));
        }
        macaroon
    }

    fn is_empty(&self) -> bool {
        self.timeout.is_none() && self.ip_address.is_none() && self.ip_range.is_none()
    }
}

/// Prints a macaroon in hex.
pub(crate) fn show(macaroon: &Macaroon) -> Result<(), CliError> {
    print_text(&format!("{}\n", macaroon.encode().to_lower_hex_string()))
}

/// Writes a macaroon to a file that only the owner can read.
pub(crate) fn save(macaroon: &Macaroon, path: &str) -> Result<(), CliError> {
    let path = expanded(path)?;
    let written = ampd_files::replace(&path, &macaroon.encode(), Readers::Owner);
    written.map_err(|error| CliError::Text(format!("cannot write {error}")))?;
    print_text(&format!("Macaroon saved to {}\n", path.display()))
}

/// Print a macaroon's root key ID, permissions and caveats.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct PrintMacaroon {
    /// Macaroon (hex)
    #[arg(required_unless_present = "macaroon_file")]
    macaroon: Option<String>,
    /// File with the macaroon
    #[arg(long, value_name = "FILE", conflicts_with = "macaroon")]
    macaroon_file: Option<String>,
}

impl PrintMacaroon {
    pub(crate) fn run(&self) -> Result<(), CliError> {
        let macaroon = match &self.macaroon_file {
            Some(path) => read_macaroon(&expanded(path)?)?,
            None => from_hex(self.macaroon.as_deref().unwrap_or_default())?,
        };
        let id = macaroon
            .id()
            .map_err(|error| CliError::Text(error.to_string()))?;
        let pairs = id.operations.by_entity();
        let permissions = pairs
            .flat_map(|(entity, actions)| actions.map(move |action| format!("{entity}:{action}")));
        let caveats = macaroon
            .caveats()
            .map(|text| String::from_utf8_lossy(text).into_owned());
        print_json(&json!({
            "version": 2,
            "location": "lnd",
            "root_key_id": id.root_key_id.to_string(),
            "permissions": permissions.collect::<Vec<_>>(),
            "caveats": caveats.collect::<Vec<_>>(),
        }))
    }
}

fn from_hex(hex: &str) -> Result<Macaroon, CliError> {
    let Ok(bytes) = Vec::from_hex(hex.trim()) else {
        return error("the macaroon is not hex");
    };
    Macaroon::decode(&bytes).map_err(|error| CliError::Text(error.to_string()))
}

/// Add restrictions to a macaroon and write the result to a file.
#[derive(Debug, Args)]
pub(crate) struct ConstrainMacaroon {
    /// File with the macaroon
    input: String,
    /// Output file for the restricted macaroon
    output: String,
    #[command(flatten)]
    restrictions: Restrictions,
}

impl ConstrainMacaroon {
    pub(crate) fn run(&self) -> Result<(), CliError> {
        if self.restrictions.is_empty() {
            return error("no restriction given: set --timeout, --ip_address or --ip_range");
        }
        let macaroon = read_macaroon(Path::new(&expanded(&self.input)?))?;
        save(&self.restrictions.added_to(macaroon), &self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictions_are_added_as_lnds_caveats() {
        let (macaroon, key) = crate::tests::macaroon();
        let restrictions = Restrictions {
            timeout: Some(60),
            ip_address: Some("::1".parse().unwrap()),
            ip_range: Some("10.0.0.0/8".parse().unwrap()),
        };
        let restricted = restrictions.added_to(macaroon);
        let caveats: Vec<_> = restricted.caveats().map(String::from_utf8_lossy).collect();
        assert!(caveats[0].starts_with("time-before 2"), "{caveats:?}");
        assert_eq!(caveats[1..], ["ipaddr ::1", "iprange 10.0.0.0/8"]);
        restricted.verify(&key).unwrap();
    }
}
