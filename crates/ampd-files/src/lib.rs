//! File access for ampd and ampcli: atomic replacement and paths below the home directory.
//!
//! [`replace`] writes a file so that readers never see a partial one; [`expand_home`] expands `~` as a
//! shell does.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The users that may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Only the owner (mode 0600).
    Owner,
    /// All users (mode 0644).
    Everybody,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Everybody => 0o644,
        }
    }
}

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct FileError {
    /// The file that could not be written or read.
    pub path: PathBuf,
    /// The operating system's error.
    pub source: io::Error,
}

/// Creates or replaces a file atomically: the content is written to a temporary file, which is then
/// renamed. The content is on disk when this returns.
///
/// # Errors
/// [`FileError`]. The file is then unchanged, unless the disk fails after the rename.
pub fn replace(path: &Path, content: &[u8], readers: Readers) -> Result<(), FileError> {
    let with_path = |source| FileError {
        path: path.to_owned(),
        source,
    };
    try_replace(path, content, readers).map_err(with_path)
}

fn try_replace(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    // Opened first, so that an error here leaves the file unchanged.
    let directory = File::open(directory_of(path))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(readers.mode());
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    directory.sync_all()
}

/// Returns the directory that contains a file. For a bare file name, whose parent is empty, that is the
/// working directory.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Reads a file. Returns `None` if it does not exist.
///
/// # Errors
/// [`FileError`] if the file exists but cannot be read.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The path begins with `~`, but HOME is not set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot expand ~ in {path}: the environment variable HOME is not set")]
pub struct NoHome {
    /// The path that was not expanded.
    pub path: String,
}

/// Replaces a leading `~` by `home`, the value of the environment variable HOME.
///
/// # Errors
/// [`NoHome`] if the path begins with `~` and `home` is missing or empty.
pub fn expand_home(path: &str, home: Option<OsString>) -> Result<PathBuf, NoHome> {
    let Some(rest) = path.strip_prefix('~') else {
        return Ok(PathBuf::from(path));
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        // ~name is another user's home directory, which is not supported.
        return Ok(PathBuf::from(path));
    }
    let home = home.filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| NoHome {
        path: path.to_owned(),
    })?;
    Ok(PathBuf::from(home).join(rest.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn replaces_files_and_sets_their_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.macaroon");
        assert_eq!(read(&path).unwrap(), None);
        for (content, readers, mode) in [
            (&b"first"[..], Readers::Owner, 0o600),
            (b"2nd", Readers::Everybody, 0o644),
        ] {
            replace(&path, content, readers).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), content);
            let found = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn bare_file_names_are_in_the_working_directory() {
        let here = Path::new(".");
        for path in ["shop.macaroon", "./shop.macaroon"] {
            assert_eq!(directory_of(Path::new(path)), here);
        }
        assert_eq!(directory_of(Path::new("a/shop.macaroon")), Path::new("a"));
        assert_eq!(directory_of(Path::new("/shop.macaroon")), Path::new("/"));
    }

    #[test]
    fn expands_tilde_to_the_home_directory() {
        let expand = |path| expand_home(path, Some("/home/satoshi".into()));
        assert_eq!(expand("~"), Ok("/home/satoshi".into()));
        assert_eq!(expand("~/.ampd"), Ok("/home/satoshi/.ampd".into()));
        assert_eq!(expand("~hal/.ampd"), Ok("~hal/.ampd".into()));
        assert_eq!(expand("/a/~"), Ok("/a/~".into()));
        assert_eq!(expand_home("/a", None), Ok("/a".into()));
        for home in [None, Some(OsString::new())] {
            let path = "~/.ampd".to_owned();
            assert_eq!(expand_home(&path, home), Err(NoHome { path }));
        }
    }

    #[test]
    fn errors_name_the_file() {
        let path = Path::new("/proc/no/such/file");
        let error = replace(path, b"", Readers::Owner).unwrap_err();
        assert!(
            error.to_string().starts_with("/proc/no/such/file: "),
            "{error}"
        );
    }
}
