//! Finds the Debian mirrors in the machine's apt sources.

use std::fs;
use std::path::{Path, PathBuf};

/// A Debian archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    /// Address of the archive, without a trailing slash.
    pub uri: String,
    /// The keyring that the machine's sources specify for it.
    pub keyring: Option<PathBuf>,
}

/// The Debian mirrors used by this machine; none if it does not run Debian.
pub(super) fn candidates() -> Vec<Mirror> {
    configured(Path::new("/etc/apt"))
}

/// The mirrors in `sources.list` and `sources.list.d` under `etc`, without duplicates.
fn configured(etc: &Path) -> Vec<Mirror> {
    let mut files = vec![etc.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc.join("sources.list.d")) {
        let mut more: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    let mut mirrors: Vec<Mirror> = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let found = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => one_line_style(&text),
            Some("sources") => deb822_style(&text),
            _ => Vec::new(),
        };
        for mirror in found {
            if is_debian(&mirror.uri) && mirrors.iter().all(|known| known.uri != mirror.uri) {
                mirrors.push(mirror);
            }
        }
    }
    mirrors
}

/// Accepts only the main archive: security updates, third-party archives and snapshots lack the
/// required packages.
fn is_debian(uri: &str) -> bool {
    !uri.starts_with("cdrom:") && uri.rsplit('/').next() == Some("debian")
}

/// Parses `deb [signed-by=/keyring] http://host/debian suite component ...`.
fn one_line_style(text: &str) -> Vec<Mirror> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter_map(|line| one_line(line.strip_prefix("deb ")?.trim()))
        .collect()
}

fn one_line(entry: &str) -> Option<Mirror> {
    let (options, rest) = match entry.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", entry),
    };
    let uri = rest.split_whitespace().next()?;
    let keyring = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    Some(mirror(uri, keyring))
}

/// Parses paragraphs of `Key: value` lines that contain `URIs`.
fn deb822_style(text: &str) -> Vec<Mirror> {
    text.split("\n\n").flat_map(paragraph).collect()
}

fn paragraph(text: &str) -> Vec<Mirror> {
    let field = |name: &str| {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    };
    let packages = field("Types")
        .unwrap_or_default()
        .split_whitespace()
        .any(|kind| kind == "deb");
    if !packages || field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no")) {
        return Vec::new();
    }
    let keyring = field("Signed-By");
    let uris = field("URIs").unwrap_or_default().split_whitespace();
    uris.map(|uri| mirror(uri, keyring)).collect()
}

fn mirror(uri: &str, keyring: Option<&str>) -> Mirror {
    // A key may also be a fingerprint or inline: only a file can be used here.
    let keyring = keyring.filter(|name| name.starts_with('/') && !name.contains([' ', ',']));
    Mirror {
        uri: uri.trim_end_matches('/').to_owned(),
        keyring: keyring.map(PathBuf::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(name: &str, text: &str) -> Vec<Mirror> {
        let etc = tempfile::tempdir().unwrap();
        fs::create_dir(etc.path().join("sources.list.d")).unwrap();
        fs::write(etc.path().join(name), text).unwrap();
        configured(etc.path())
    }

    fn plain(uri: &str) -> Mirror {
        Mirror {
            uri: uri.to_owned(),
            keyring: None,
        }
    }

    #[test]
    fn reads_the_one_line_style() {
        let text = "# deb http://old.example/debian buster main\n\
                    deb-src http://source.example/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main\n\
                    deb http://mirror.example/debian bookworm-updates main # again\n\
                    deb http://mirror.example/debian-security bookworm-security main\n\
                    deb https://other.example/apt stable main\n";
        let expected = [Mirror {
            uri: "http://mirror.example/debian".into(),
            keyring: Some("/k.gpg".into()),
        }];
        assert_eq!(found_in("sources.list", text), expected);
        assert_eq!(found_in("sources.list.d/debian.list", text), expected);
    }

    #[test]
    fn reads_the_deb822_style() {
        let text = "Types: deb\n# a comment\nURIs: http://one.example/debian http://two.example/x\n\
                    Suites: bookworm\nComponents: main\nSigned-By: /k.gpg\n\n\
                    Types: deb\nURIs: http://off.example/debian\nEnabled: no\n\n\
                    Types: deb-src\nURIs: http://src.example/debian\n";
        let expected = Mirror {
            uri: "http://one.example/debian".into(),
            keyring: Some("/k.gpg".into()),
        };
        assert_eq!(found_in("sources.list.d/debian.sources", text), [expected]);
    }

    #[test]
    fn inline_key_is_not_used_as_keyring_file() {
        let text = "Types: deb\nURIs: http://one.example/debian\nSigned-By:\n \
                    -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n";
        assert_eq!(
            found_in("sources.list.d/x.sources", text),
            [plain("http://one.example/debian")]
        );
    }

    #[test]
    fn ignores_other_files_and_archives() {
        let line = "deb http://one.example/debian bookworm main\n";
        assert_eq!(found_in("sources.list.d/debian.list.disabled", line), []);
        assert_eq!(
            found_in("sources.list", "deb http://one.example/ubuntu noble main\n"),
            []
        );
        let day = "deb http://one.example/archive/debian/20250101T000000Z bookworm main\n";
        assert_eq!(found_in("sources.list", day), []);
    }
}
