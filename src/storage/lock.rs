//! The lock that keeps a second ampd out of a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::StorageError;

/// Holds the data directory's lock file. The operating system releases it when the process ends for
/// any reason.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks `directory`, which must exist.
    ///
    /// # Errors
    /// [`StorageError::InUse`] if another process holds the lock, [`StorageError::Directory`] if
    /// the file cannot be opened.
    pub fn take(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join("ampd.lock");
        let in_use = || StorageError::InUse(directory.to_owned());
        let failed = |source| StorageError::Directory {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(in_use()),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_second_lock_until_the_first_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirectoryLock::take(dir.path()).unwrap();
        assert!(matches!(
            DirectoryLock::take(dir.path()),
            Err(StorageError::InUse(_))
        ));
        drop(first);
        DirectoryLock::take(dir.path()).unwrap();
    }
}
