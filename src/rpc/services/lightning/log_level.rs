//! DebugLevel.

use tonic::Status;

use crate::log_levels::{LogLevels, SUBSYSTEMS};
use crate::rpc::convert::errors::refused;
use lnd_api::proto::lnrpc::{DebugLevelRequest, DebugLevelResponse};

/// Lists the logging subsystems, or sets log levels and returns those in effect.
pub(super) fn set(
    levels: &LogLevels,
    request: &DebugLevelRequest,
) -> Result<DebugLevelResponse, Status> {
    let sub_systems = if request.show {
        SUBSYSTEMS.join(" ")
    } else {
        let set = levels.set(&request.level_spec);
        set.map_err(|error| refused(error.to_string()))?
    };
    Ok(DebugLevelResponse { sub_systems })
}
