//! How many files and connections the system lets this process have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What we ask for: the page's visitors, 300 callers and thousands of peers have room in it.
const WANTED: u64 = 65_536;
/// With fewer, the node warns. 1,024 is what a login shell usually gets, before we raise it.
const ENOUGH: u64 = 4_096;

/// Raises the limit as far as the system allows, up to 65,536. Once, at the start.
pub fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < WANTED) {
        let most = limit.maximum.unwrap_or(u64::MAX);
        limit.current = Some(WANTED.min(most));
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    let files = self::limit();
    if files < ENOUGH {
        tracing::warn!(
            files,
            "the limit of open files is low, so fewer connections are taken; set it to {ENOUGH} or more \
             (LimitNOFILE= of systemd, ulimit -Hn)"
        );
    }
}

/// Files and connections that may be open at a time.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_below_the_allowed_one_is_raised() {
        let allowed = getrlimit(Resource::Nofile);
        let most = allowed.maximum.unwrap_or(u64::MAX).min(WANTED);
        // Enough for the tests beside this one.
        let low = rustix::process::Rlimit {
            current: Some(most.min(8_000)),
            ..allowed
        };
        setrlimit(Resource::Nofile, low).unwrap();
        raise_limit();
        assert_eq!(limit(), most);
    }
}
