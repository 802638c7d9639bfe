//! ExportAllChannelBackups. Ride The Lightning and others ask for it as soon as they connect.

use tonic::Status;

use crate::channels::list::channels;
use crate::rpc::Rooms;
use lnd_api::proto::lnrpc::{ChanBackupSnapshot, ChannelBackups, MultiChanBackup};

/// What is true while there is no channel.
///
/// # Errors
/// If there is one: an empty backup would be taken for a backup of it.
pub(super) fn export_all(rooms: &Rooms) -> Result<ChanBackupSnapshot, Status> {
    match channels(&rooms.manager).len() {
        0 => Ok(ChanBackupSnapshot {
            single_chan_backups: Some(ChannelBackups::default()),
            multi_chan_backup: Some(MultiChanBackup::default()),
        }),
        count => Err(Status::unimplemented(format!(
            "ampd makes no static channel backups; channels here that only its data directory knows: {count}"
        ))),
    }
}
