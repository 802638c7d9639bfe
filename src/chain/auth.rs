//! Credentials for bitcoind's RPC: user and password, or the cookie file.

use std::fmt;
use std::path::{Path, PathBuf};

use bitcoin::base64::Engine;
use bitcoin::base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::error::ChainError;

/// Maximum size of a cookie file, which holds `__cookie__:` and 64 hex digits.
const MAX_COOKIE_BYTES: u64 = 1024;

/// Credentials for bitcoind's RPC, as configured.
#[derive(Clone)]
pub enum RpcAuth {
    /// `bitcoind-rpc-user` and `bitcoind-rpc-password`.
    UserPassword {
        /// The user's name.
        user: String,
        /// The password, wiped from memory when dropped.
        password: Zeroizing<String>,
    },
    /// `bitcoind-rpc-cookie`: bitcoind writes a new cookie at every start.
    Cookie(PathBuf),
}

impl RpcAuth {
    /// Returns the credentials for HTTP basic authentication (base64 of `user:password`).
    ///
    /// # Errors
    /// [`ChainError::CookieUnreadable`] if the cookie file cannot be used.
    pub(super) fn basic(&self) -> Result<Zeroizing<String>, ChainError> {
        let plain = match self {
            RpcAuth::UserPassword { user, password } => {
                Zeroizing::new(format!("{user}:{}", password.as_str()))
            }
            RpcAuth::Cookie(path) => read_cookie(path)?,
        };
        Ok(Zeroizing::new(BASE64_STANDARD.encode(plain.as_bytes())))
    }
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RpcAuth::UserPassword { user, .. } => f
                .debug_struct("UserPassword")
                .field("user", user)
                .finish_non_exhaustive(),
            RpcAuth::Cookie(path) => f.debug_tuple("Cookie").field(path).finish(),
        }
    }
}

fn read_cookie(path: &Path) -> Result<Zeroizing<String>, ChainError> {
    let unreadable = |reason: String| ChainError::CookieUnreadable {
        path: path.to_path_buf(),
        reason,
    };
    let meta = std::fs::metadata(path).map_err(|e| unreadable(e.to_string()))?;
    if !meta.is_file() || meta.len() > MAX_COOKIE_BYTES {
        return Err(unreadable("it is not a cookie file".to_owned()));
    }
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|e| unreadable(e.to_string()))?;
    let cookie = text.trim_end_matches(['\r', '\n']);
    match cookie.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => {
            Ok(Zeroizing::new(cookie.to_owned()))
        }
        _ => Err(unreadable("it has no user:password line".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie_file(content: &str) -> (tempfile::TempDir, RpcAuth) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        std::fs::write(&path, content).unwrap();
        (dir, RpcAuth::Cookie(path))
    }

    #[test]
    fn user_and_password_become_basic_credentials() {
        let password = Zeroizing::new("open sesame".to_owned());
        let auth = RpcAuth::UserPassword {
            user: "Aladdin".to_owned(),
            password,
        };
        // The example of RFC 7617, section 2.
        assert_eq!(
            auth.basic().unwrap().as_str(),
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }

    #[test]
    fn cookie_is_read_without_line_end_and_reread_after_a_change() {
        let (dir, auth) = cookie_file("__cookie__:00ff\n");
        assert_eq!(
            auth.basic().unwrap().as_str(),
            BASE64_STANDARD.encode("__cookie__:00ff")
        );
        std::fs::write(dir.path().join(".cookie"), "__cookie__:11ee").unwrap();
        assert_eq!(
            auth.basic().unwrap().as_str(),
            BASE64_STANDARD.encode("__cookie__:11ee")
        );
    }

    #[test]
    fn cookie_errors_name_the_file_and_the_config_key() {
        let missing = RpcAuth::Cookie("/nowhere/.cookie".into())
            .basic()
            .unwrap_err()
            .to_string();
        assert!(missing.contains("/nowhere/.cookie") && missing.contains("bitcoind-rpc-cookie"));
        for content in ["", "no colon", ":password", "user:", &"a:b".repeat(1000)] {
            let (_dir, auth) = cookie_file(content);
            assert!(
                matches!(auth.basic(), Err(ChainError::CookieUnreadable { .. })),
                "{content}"
            );
        }
    }

    #[test]
    fn debug_output_hides_the_password() {
        let password = Zeroizing::new("hunter2".to_owned());
        let auth = RpcAuth::UserPassword {
            user: "u".to_owned(),
            password,
        };
        assert!(!format!("{auth:?}").contains("hunter2"));
    }
}
