//! The version of lnd whose API this is. Clients choose their calls according to it.

use crate::proto::verrpc::Version;

const MAJOR: u32 = 0;
const MINOR: u32 = 21;
const PATCH: u32 = 2;
const PRE_RELEASE: &str = "beta";

/// The lnd sub-servers that ampd implements, as lnd names them.
const BUILD_TAGS: [&str; 4] = ["chainrpc", "invoicesrpc", "routerrpc", "walletrpc"];

/// Returns lnd's version as text, for example `0.21.2-beta`.
#[must_use]
pub fn text() -> String {
    format!("{MAJOR}.{MINOR}.{PATCH}-{PRE_RELEASE}")
}

/// Returns the response of `GetVersion`. `build` names the responding program, for example `ampd/0.1.0`, in
/// the field where lnd has its commit.
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
