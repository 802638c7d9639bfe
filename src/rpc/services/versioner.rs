//! The `Versioner` service: the emulated lnd version and ampd's own version.

use tonic::{Request, Response, Status};

use lnd_api::proto::verrpc::versioner_server::Versioner;
use lnd_api::proto::verrpc::{Version, VersionRequest};
use lnd_api::version;

/// ampd's own version.
const AMPD_VERSION: &str = concat!("ampd/", env!("CARGO_PKG_VERSION"));

/// Returns GetInfo's version in lnd's format: the version number, then the build.
pub(in crate::rpc) fn of_info() -> String {
    format!("{} {AMPD_VERSION}", version::text())
}

/// Implements lnd's `Versioner` service.
pub(in crate::rpc) struct VersionerService;

#[tonic::async_trait]
impl Versioner for VersionerService {
    async fn get_version(&self, _: Request<VersionRequest>) -> Result<Response<Version>, Status> {
        Ok(Response::new(version::version(AMPD_VERSION)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::test_recordings::{printed, recorded, without};

    #[test]
    fn version_matches_the_recorded_lnd() {
        let ours = ["commit", "build_tags", "go_version"];
        let lnd = recorded("version.json")["lnd"].take();
        let lnd_tags = lnd["build_tags"].clone();
        assert_eq!(
            without(printed(&version::version(AMPD_VERSION)), &ours),
            without(lnd, &ours)
        );
        for tag in version::version(AMPD_VERSION).build_tags {
            assert!(
                lnd_tags.as_array().unwrap().contains(&tag.clone().into()),
                "{tag}"
            );
        }
    }

    #[test]
    fn get_info_version_names_lnd_and_ampd() {
        assert!(of_info().starts_with("0.21.2-beta ampd/"));
    }
}
