//! Files that are either the old one or the new one, never half of one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    process,
};

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Everybody: 0644.
    Public,
    /// The owner: 0600.
    Private,
}

/// Writes `content` beside `path` and renames it there. From its first byte on nobody else can read a private file.
pub(crate) fn replace(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", process::id()));
    let beside = Path::new(&beside);
    let written = write_new(beside, content, access).and_then(|()| fs::rename(beside, path));
    if written.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_file(beside);
        return written;
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Makes a folder, and those above it, that only its owner can enter.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write_new(path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    let mode = match access {
        Access::Public => 0o644,
        Access::Private => 0o600,
    };
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_private_file_is_for_its_owner_and_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        replace(&path, b"old", Access::Private).unwrap();
        replace(&path, b"new", Access::Private).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
