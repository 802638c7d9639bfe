//! The limit on open files and connections of this process (`RLIMIT_NOFILE`).

use rustix::process::{Resource, getrlimit, setrlimit};

/// The limit requested: enough for the donation page, 300 API clients and thousands of peers.
const WANTED: u64 = 65_536;
/// Below this limit a warning is logged. A login shell's default is usually 1,024.
const ENOUGH: u64 = 4_096;

/// Raises the limit as far as the system allows, up to 65,536. Called once at startup.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < WANTED) {
        let most = limit.maximum.unwrap_or(u64::MAX);
        limit.current = Some(WANTED.min(most));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "cannot raise the open file limit");
        }
    }
    let files = self::limit();
    if files < ENOUGH {
        tracing::warn!(
            files,
            "the open file limit is low, so fewer connections are accepted; set it to at least {ENOUGH} \
             (systemd: LimitNOFILE=, shell: ulimit -Hn)"
        );
    }
}

/// Returns the number of files and connections that may be open at a time.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raises_the_limit_to_the_hard_limit() {
        let allowed = getrlimit(Resource::Nofile);
        let most = allowed.maximum.unwrap_or(u64::MAX).min(WANTED);
        // Enough for tests that run in parallel.
        let low = rustix::process::Rlimit {
            current: Some(most.min(8_000)),
            ..allowed
        };
        setrlimit(Resource::Nofile, low).unwrap();
        raise_limit();
        assert_eq!(limit(), most);
    }
}
