//! Keys that streams are encrypted with, in a directory: a file each, called by the key's name, or by that, a dot and a version.
//!
//! ```text
//!   openssl rand -hex 32 > keys/orders.1      # 32 bytes as 64 digits, or as they are; for its owner alone
//!   openssl rand -hex 32 > keys/orders.2      # from now on this one encrypts; what orders.1 encrypted stays readable
//! ```
//!
//! A file without a version is of version 0. The directory is read again when it changes; where it is of no use then, the keys
//! stay as they were. Files that begin with a dot are passed over: under such a name a key can be written and then renamed.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use engine::encryption::{KEY_BYTES, Key, Keyring, KeyringError};

use crate::changes::{Changes, Stamp, stamp};
use crate::private::{self, Unread};

/// The directory is looked at so often.
const EVERY: Duration = Duration::from_millis(500);

/// A key as digits, and a line's end.
const FILE_BYTES_MAX: usize = 2 * KEY_BYTES + 2;

/// A key's name, as long as a file's may be with a version behind it.
const NAME_BYTES_MAX: usize = 128;

/// Why a directory with keys is of no use.
#[derive(Debug)]
pub struct KeysError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// It, or a file in it, can't be read, or may not.
    Unread(Unread),
    /// The file's name is not a key's.
    Name,
    /// It holds no key.
    NoKey,
    /// The keys together.
    Keyring(KeyringError),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key directory: {}", self.path.display())?;
        match &self.cause {
            Cause::Unread(why) => why.fmt(f),
            Cause::Name => f.write_str(
                " is not called as a key is: by up to 128 letters, digits, `_` or `-`, and, if you like, a dot and a version",
            ),
            Cause::NoKey => f.write_str(" holds no key: 32 bytes, or 64 hexadecimal digits (openssl rand -hex 32)"),
            Cause::Keyring(error) => write!(f, ": {error}"),
        }
    }
}

impl std::error::Error for KeysError {}

/// The keys, and the directory that they are from.
#[derive(Clone, Debug)]
pub struct KeyDirectory {
    path: PathBuf,
    /// What reactors encrypt and decrypt with.
    pub(crate) keyring: Arc<Keyring>,
}

impl KeyDirectory {
    /// Reads it.
    pub(crate) fn read(path: PathBuf) -> Result<KeyDirectory, KeysError> {
        let directory = KeyDirectory { path, keyring: Arc::default() };
        take(&directory.path, &directory.keyring)?;
        Ok(directory)
    }

    /// Has a thread look whether it has changed, until nobody needs the keys any more.
    pub(crate) fn watch(&self) -> io::Result<()> {
        let (path, keyring) = (self.path.clone(), Arc::downgrade(&self.keyring));
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || watch(&path, &keyring)).map(drop)
    }
}

fn watch(path: &Path, keyring: &Weak<Keyring>) {
    // It may have changed since it was read, so it is read again once.
    let mut changes = Changes::since(None);
    loop {
        std::thread::sleep(EVERY);
        let Some(keyring) = keyring.upgrade() else { return };
        if changes.look(state(path)) {
            match take(path, &keyring) {
                Ok(keys) => {
                    changes.succeeded();
                    tracing::info!(directory = %path.display(), keys, "the key directory was read: its keys hold")
                }
                Err(error) if changes.failed(&error) => {
                    tracing::warn!(%error, "the keys stay as they were; it is tried again");
                }
                Err(_) => {}
            }
        }
    }
}

/// What tells two states of the directory apart: the state of itself, and of each file in it.
fn state(path: &Path) -> (Stamp, Vec<(PathBuf, Stamp)>) {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| (entry.path(), stamp(&entry.path()))).collect();
    files.sort();
    (stamp(path), files)
}

/// Takes all keys of a directory, and tells how many.
fn take(path: &Path, keyring: &Keyring) -> Result<usize, KeysError> {
    let keys = read_all(path)?;
    let count = keys.len();
    keyring.replace(keys).map_err(|error| KeysError { path: path.to_owned(), cause: Cause::Keyring(error) })?;
    Ok(count)
}

fn read_all(path: &Path) -> Result<Vec<Key>, KeysError> {
    let wrong = |cause| KeysError { path: path.to_owned(), cause };
    let unreadable = |error: io::Error| wrong(Cause::Unread(error.into()));
    // Whoever may write into it may put keys of his own there.
    if std::fs::metadata(path).map_err(unreadable)?.mode() & 0o022 != 0 {
        return Err(wrong(Cause::Unread(Unread::Open)));
    }
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            let path = entry.path();
            let key = name.to_str().and_then(named).ok_or(Cause::Name);
            let key =
                key.and_then(|(name, version)| Ok(Key { name: name.to_owned(), version, secret: secret(&path)? }));
            keys.push(key.map_err(|cause| KeysError { path, cause })?);
        }
    }
    Ok(keys)
}

/// A file's name as a key's, and its version.
fn named(file: &str) -> Option<(&str, u32)> {
    let (name, version) = match file.split_once('.') {
        None => (file, 0),
        Some((name, version)) => (name, version.parse().ok().filter(|_| !version.starts_with('+'))?),
    };
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    ((1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_legal)).then_some((name, version))
}

fn secret(path: &Path) -> Result<[u8; KEY_BYTES], Cause> {
    let file = private::open(path).map_err(Cause::Unread)?;
    let mut bytes = Vec::with_capacity(FILE_BYTES_MAX + 1);
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| Cause::Unread(error.into()))?;
    secret_of(&bytes).ok_or(Cause::NoKey)
}

/// Bytes as they are, or digits.
fn secret_of(bytes: &[u8]) -> Option<[u8; KEY_BYTES]> {
    if let Ok(raw) = bytes.try_into() {
        return Some(raw);
    }
    let digits = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\r']);
    let mut secret = [0; KEY_BYTES];
    if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in secret.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn put(directory: &Path, name: &str, bytes: &[u8], mode: u32) {
        let path = directory.join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        directory
    }

    #[test]
    fn keys_are_read_as_bytes_and_as_digits() {
        let directory = directory();
        put(directory.path(), "raw", &[0xab; 32], 0o600);
        put(directory.path(), "digits.7", format!("{}\n", "aB".repeat(32)).as_bytes(), 0o400);
        put(directory.path(), ".not-yet", b"half", 0o644);
        let mut keys = read_all(directory.path()).unwrap();
        keys.sort_by_key(|key| key.version);
        let told: Vec<_> = keys.iter().map(|key| (key.name.as_str(), key.version, key.secret)).collect();
        assert_eq!(told, [("raw", 0, [0xab; 32]), ("digits", 7, [0xab; 32])]);
    }

    #[test]
    fn mistakes_are_named_and_no_secret_is() {
        for (name, bytes, mode, wrong) in [
            ("short", &b"secret"[..], 0o600, "holds no key"),
            ("digits", "g".repeat(64).as_bytes(), 0o600, "holds no key"),
            ("long", "ab".repeat(40).as_bytes(), 0o600, "holds no key"),
            ("open", &[7; 32], 0o640, "open to others"),
            ("name.of", &[7; 32], 0o600, "not called as a key is"),
            ("name.1.2", &[7; 32], 0o600, "not called as a key is"),
            ("näme", &[7; 32], 0o600, "not called as a key is"),
        ] {
            let directory = directory();
            put(directory.path(), name, bytes, mode);
            let told = KeyDirectory::read(directory.path().to_owned()).unwrap_err().to_string();
            assert!(told.contains(wrong) && told.contains(name) && !told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let directory = directory();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o770)).unwrap();
        let told = KeyDirectory::read(directory.path().to_owned()).unwrap_err().to_string();
        assert!(told.contains("open to others"), "{told}");
        let told = KeyDirectory::read(directory.path().join("not-there")).unwrap_err().to_string();
        assert!(told.contains("can't be read"), "{told}");
    }

    #[test]
    fn what_changes_is_taken_and_what_is_no_good_is_not() {
        let directory = directory();
        put(directory.path(), "mine", &[1; 32], 0o600);
        let keys = KeyDirectory::read(directory.path().to_owned()).unwrap();
        let before = state(directory.path());
        put(directory.path(), "other", &[2; 32], 0o600);
        assert_ne!(state(directory.path()), before);
        take(directory.path(), &keys.keyring).unwrap();
        assert!(keys.keyring.has("other"));
        put(directory.path(), "third", b"none", 0o600);
        assert!(take(directory.path(), &keys.keyring).is_err());
        assert!(keys.keyring.has("other") && !keys.keyring.has("third"));
    }
}
