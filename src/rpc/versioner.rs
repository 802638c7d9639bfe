//! The `Versioner` service: which version this is.

use tonic::{Request, Response, Status};

use super::proto::verrpc::versioner_server::Versioner;
use super::proto::verrpc::{Version, VersionRequest};

/// The version of lnd whose interface this is: clients decide by it what they may call.
const MAJOR: u32 = 0;
const MINOR: u32 = 21;
const PATCH: u32 = 2;
const PRE_RELEASE: &str = "beta";

/// What this really is.
const OURS: &str = concat!("ampd/", env!("CARGO_PKG_VERSION"));

/// lnd's names of those of its services that ampd has.
const BUILD_TAGS: [&str; 4] = ["chainrpc", "invoicesrpc", "routerrpc", "walletrpc"];

/// GetInfo's text, made as lnd makes it: the version, then what was built.
pub(super) fn of_info() -> String {
    format!("{} {OURS}", text())
}

/// The version of this program, as `lncli version` shows it.
pub(crate) fn version() -> Version {
    Version {
        commit: OURS.to_owned(),
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

fn text() -> String {
    format!("{MAJOR}.{MINOR}.{PATCH}-{PRE_RELEASE}")
}

/// Needs no room.
pub(super) struct VersionerService;

#[tonic::async_trait]
impl Versioner for VersionerService {
    async fn get_version(&self, _: Request<VersionRequest>) -> Result<Response<Version>, Status> {
        Ok(Response::new(version()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::recorded::{printed, recorded, without};

    #[test]
    fn version_is_that_of_the_lnd_that_was_recorded() {
        let ours = ["commit", "build_tags", "go_version"];
        let lnd = recorded("version.json")["lnd"].take();
        let lnd_tags = lnd["build_tags"].clone();
        assert_eq!(without(printed(&version()), &ours), without(lnd, &ours));
        for tag in BUILD_TAGS {
            assert!(lnd_tags.as_array().unwrap().contains(&tag.into()), "{tag}");
        }
    }

    #[test]
    fn info_says_both_versions() {
        assert!(of_info().starts_with("0.21.2-beta ampd/"));
    }
}
