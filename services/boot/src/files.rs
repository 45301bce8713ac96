//! Files that others read while we write them: whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::Serialize;

/// Writes `value` as JSON to `path` through a temporary file beside it, so that a reader
/// sees the old file or the new one, never a part.
///
/// # Errors
/// Those of the file system; a value that JSON cannot hold is [`io::ErrorKind::InvalidData`].
pub fn write_json_atomically<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    replace(path, &json(value)?, 0o644)
}

/// As [`write_json_atomically`], for a value with a secret in it: readable by its owner
/// alone.
///
/// # Errors
/// As [`write_json_atomically`].
pub fn write_secret_json_atomically<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    replace(path, &json(value)?, 0o600)
}

/// Writes what anybody may read to `path`, whole or not at all.
///
/// # Errors
/// Those of the file system.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o644)
}

/// Reads a file of at most `max` bytes.
///
/// # Errors
/// Those of the file system; a longer file is [`io::ErrorKind::FileTooLarge`].
pub fn read_at_most(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    match read as u64 > max {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

/// Writes a secret to `path`, whole or not at all, readable by its owner alone.
///
/// # Errors
/// Those of the file system.
pub fn write_secret_atomically(path: &Path, secret: &[u8]) -> io::Result<()> {
    replace(path, secret, 0o600)
}

fn json<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let beside = beside(path);
    let _ = fs::remove_file(&beside);
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ready.json");
        write_json_atomically(&path, &vec![1, 2, 3])?;
        write_json_atomically(&path, &vec!["four"])?;
        assert_eq!(fs::read_to_string(&path)?, "[\"four\"]\n");
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn a_secret_is_its_owners_alone() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("stream-key");
        fs::write(&path, "open to all")?;
        write_secret_atomically(&path, b"ls_secret")?;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path)?, b"ls_secret");
        let ready = folder.path().join("ready.json");
        write_secret_json_atomically(&ready, &"ls_secret")?;
        assert_eq!(fs::metadata(&ready)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&ready)?, "\"ls_secret\"\n");
        Ok(())
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("ca.pem");
        write_atomically(&path, b"four")?;
        assert_eq!(read_at_most(&path, 4)?, b"four");
        let refused = read_at_most(&path, 3).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::FileTooLarge));
        Ok(())
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(write_json_atomically(Path::new("/nowhere/at/all.json"), &1).is_err());
    }
}
