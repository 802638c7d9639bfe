//! The `Versioner` service: which version this is.

use tonic::{Request, Response, Status};

use lnd_api::proto::verrpc::versioner_server::Versioner;
use lnd_api::proto::verrpc::{Version, VersionRequest};
use lnd_api::version;

/// What this really is.
const OURS: &str = concat!("ampd/", env!("CARGO_PKG_VERSION"));

/// GetInfo's text, made as lnd makes it: the version, then what was built.
pub(super) fn of_info() -> String {
    format!("{} {OURS}", version::text())
}

/// Needs nothing of the node.
pub(super) struct VersionerService;

#[tonic::async_trait]
impl Versioner for VersionerService {
    async fn get_version(&self, _: Request<VersionRequest>) -> Result<Response<Version>, Status> {
        Ok(Response::new(version::version(OURS)))
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
        assert_eq!(
            without(printed(&version::version(OURS)), &ours),
            without(lnd, &ours)
        );
        for tag in version::version(OURS).build_tags {
            assert!(
                lnd_tags.as_array().unwrap().contains(&tag.clone().into()),
                "{tag}"
            );
        }
    }

    #[test]
    fn info_says_both_versions() {
        assert!(of_info().starts_with("0.21.2-beta ampd/"));
    }
}
