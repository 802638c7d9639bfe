//! Files of ampd and ampcli: replaced atomically, and found below the home directory.
//!
//! [`replace`] writes a file so that no reader ever sees half of it; [`expand_home`] reads `~` as a shell does.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    Owner,
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

/// A file could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", .path.display())]
pub struct FileError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Writes a file, or replaces it: first elsewhere, then renamed, so that no reader ever sees half of it.
/// On disk when this returns.
///
/// # Errors
/// [`FileError`]; the file is as it was, unless the disk fails after it was renamed.
pub fn replace(path: &Path, content: &[u8], readers: Readers) -> Result<(), FileError> {
    let in_place = |source| FileError {
        path: path.to_owned(),
        source,
    };
    try_replace(path, content, readers).map_err(in_place)
}

fn try_replace(path: &Path, content: &[u8], readers: Readers) -> io::Result<()> {
    // First, so that a directory that cannot be opened leaves the file as it was.
    let directory = File::open(directory_of(path))?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(readers.mode());
    let mut file = options.open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    directory.sync_all()
}

/// The directory that holds a file. A bare file name is in the working directory, and its parent is
/// empty.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Reads a file; `None` if there is none.
///
/// # Errors
/// [`FileError`].
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

/// A path begins with `~`, and HOME is not set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot replace ~ in {path}: HOME is not set")]
pub struct NoHome {
    /// The path.
    pub path: String,
}

/// A path with `~` replaced by `home`, the value of the environment variable HOME.
///
/// # Errors
/// [`NoHome`] if there is a `~` to replace and `home` is missing or empty.
pub fn expand_home(path: &str, home: Option<OsString>) -> Result<PathBuf, NoHome> {
    let Some(rest) = path.strip_prefix('~') else {
        return Ok(PathBuf::from(path));
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        // ~name is another user's home, which only a shell knows.
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
    fn a_file_is_replaced_whole_and_read_by_whom_it_is_for() {
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
    fn a_bare_file_name_is_in_the_working_directory() {
        let here = Path::new(".");
        for path in ["shop.macaroon", "./shop.macaroon"] {
            assert_eq!(directory_of(Path::new(path)), here);
        }
        assert_eq!(directory_of(Path::new("a/shop.macaroon")), Path::new("a"));
        assert_eq!(directory_of(Path::new("/shop.macaroon")), Path::new("/"));
    }

    #[test]
    fn a_tilde_is_the_home_directory() {
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
    fn an_error_names_the_file() {
        let path = Path::new("/proc/no/such/file");
        let error = replace(path, b"", Readers::Owner).unwrap_err();
        assert!(
            error.to_string().starts_with("/proc/no/such/file: "),
            "{error}"
        );
    }
}
