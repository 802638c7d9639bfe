//! The version of lnd whose API this is: clients decide by it which calls they make.

use crate::proto::verrpc::Version;

const MAJOR: u32 = 0;
const MINOR: u32 = 21;
const PATCH: u32 = 2;
const PRE_RELEASE: &str = "beta";

/// lnd's names of those of its sub-servers that ampd has.
const BUILD_TAGS: [&str; 4] = ["chainrpc", "invoicesrpc", "routerrpc", "walletrpc"];

/// lnd's version as text, for example `0.21.2-beta`.
#[must_use]
pub fn text() -> String {
    format!("{MAJOR}.{MINOR}.{PATCH}-{PRE_RELEASE}")
}

/// The answer of `GetVersion`. `build` names the program that answers, for example `ampd/0.1.0`; lnd has its
/// commit there.
#[must_use]
pub fn version(build: &str) -> Version {
    Version {
        commit: build.to_owned(),
        commit_hash: String::new(),
        version: text(),
        app_major: MAJOR,
        app_minor: MINOR,
        app_patch: PATCH,
        app_pre_release: PRE_RELEASE.to_owned(),
        build_tags: BUILD_TAGS.map(str::to_owned).to_vec(),
        go_version: String::new(),
    }
}
