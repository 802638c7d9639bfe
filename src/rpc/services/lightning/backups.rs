//! ExportAllChannelBackups. Ride The Lightning and other clients request it on connecting.

use tonic::Status;

use crate::rpc::Context;
use lnd_api::proto::lnrpc::{ChanBackupSnapshot, ChannelBackups, MultiChanBackup};

/// Returns an empty backup while there are no channels.
///
/// # Errors
/// Unimplemented if there are channels: an empty backup would be mistaken for a backup of them.
pub(super) fn export_all(context: &Context) -> Result<ChanBackupSnapshot, Status> {
    match context.channels.list().len() {
        0 => Ok(ChanBackupSnapshot {
            single_chan_backups: Some(ChannelBackups::default()),
            multi_chan_backup: Some(MultiChanBackup::default()),
        }),
        count => Err(Status::unimplemented(format!(
            "static channel backups are not supported: the state of the {count} channels is only in the \
             data directory"
        ))),
    }
}
