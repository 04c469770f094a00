//! Keys of encrypted streams, and what frames are encrypted with: AES-256-GCM.
//!
//! ```text
//!   key of 32 bytes, which has a name and a version --HKDF-SHA256, salt of this life--> data key --nonce: shard, number--> frame
//! ```
//!
//! **Why no nonce comes twice under a key.** Each reactor draws a salt of 96 random bits when it begins, and encrypts with what
//! it derives by that salt alone; so two lives, or two copies of a data directory, or two servers that were given the same key,
//! have data keys of their own: of 2^32 lives two draw the same salt with a probability of 2^-33. Within a life the nonce is
//! shard and sequence number. A number is given to one frame of its shard and then raised, in [`crate::intake`], before
//! anything else may go wrong with the batch; a batch that fails ends the journal's life. So it needs no counter that would have
//! to be durable. It does not hold for a process that is copied while it runs, as snapshots of virtual machines with their memory
//! are.
//!
//! Keys are read by whoever runs the reactors, who may replace all of them at any time. What is not among them can be neither
//! read nor written; it stays as it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use frame::encryption::{KeyUse, TAG_BYTES, Text};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};

use crate::limits::CIPHERS_KEPT_MAX;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Data keys are derived for this and nothing else.
const PURPOSE: &[u8] = b"millstream frame 1";

/// A key.
#[derive(Clone)]
pub struct Key {
    /// What streams name it by.
    pub name: String,
    /// Of those of a name the highest encrypts; the others are for what was encrypted before.
    pub version: u32,
    /// The secret.
    pub secret: [u8; KEY_BYTES],
}

impl Key {
    /// What frames know it by: some of its digest, so that it is found whatever it is called.
    pub fn identifier(&self) -> u32 {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(b"millstream key");
        context.update(&self.secret);
        context.finish().as_ref().first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, version {}, {:08x})", self.name, self.version, self.identifier())
    }
}

/// Why keys are not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyringError {
    /// Two have a name and a version in common.
    Twice(String, u32),
    /// Two that differ have an identifier in common.
    Alike(String, String),
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyringError::Twice(name, version) => {
                write!(f, "there are two keys {name} of version {version}; remove one, or give it a higher version")
            }
            KeyringError::Alike(one, other) => {
                write!(f, "keys {one} and {other} can't be told apart by their identifiers; draw one of them anew")
            }
        }
    }
}

impl std::error::Error for KeyringError {}

#[derive(Default)]
struct Held {
    keys: BTreeMap<u32, Key>,
    newest: BTreeMap<String, u32>,
}

impl Held {
    fn of(keys: Vec<Key>) -> Result<Held, KeyringError> {
        let mut held = Held::default();
        let mut versions = BTreeMap::new();
        for key in keys {
            let identifier = key.identifier();
            if versions.insert((key.name.clone(), key.version), identifier).is_some() {
                return Err(KeyringError::Twice(key.name, key.version));
            }
            let before = held.keys.insert(identifier, key.clone());
            if let Some(before) = before.filter(|before| before.secret != key.secret) {
                return Err(KeyringError::Alike(before.name, key.name));
            }
        }
        // The highest version of each name comes last.
        held.newest = versions.into_iter().map(|((name, _), identifier)| (name, identifier)).collect();
        Ok(held)
    }
}

/// All keys that there are, for all reactors.
#[derive(Default)]
pub struct Keyring {
    held: RwLock<Arc<Held>>,
    /// How often they were replaced.
    changes: AtomicU64,
}

impl Keyring {
    /// Puts these in the place of all that there were.
    ///
    /// # Errors
    /// They can't all be; the keys are those of before.
    pub fn replace(&self, keys: Vec<Key>) -> Result<(), KeyringError> {
        let held = Arc::new(Held::of(keys)?);
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Whether there is a key of this name.
    pub fn has(&self, name: &str) -> bool {
        self.held().newest.contains_key(key_name(name))
    }

    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.held().keys.values()).finish()
    }
}

/// What a key is called, of how a stream names it: that may be a path, whose last part counts.
fn key_name(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}

/// A data key.
pub(crate) struct Cipher {
    with: KeyUse,
    key: LessSafeKey,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({:?})", self.with)
    }
}

impl Cipher {
    fn new(key: &Key, with: KeyUse) -> Cipher {
        let derived = Salt::new(HKDF_SHA256, &with.salt).extract(&key.secret);
        let expanded = derived.expand(&[PURPOSE], &AES_256_GCM);
        let key = UnboundKey::from(expanded.expect("a key is shorter than what may be derived"));
        Cipher { with, key: LessSafeKey::new(key) }
    }

    /// What frames tell of it.
    pub(crate) fn with(&self) -> KeyUse {
        self.with
    }

    /// Encrypts a frame's text.
    pub(crate) fn encrypt(&self, text: Text<'_>) -> [u8; TAG_BYTES] {
        let nonce = Nonce::assume_unique_for_key(text.nonce);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(text.bound), text.bytes);
        let tag = tag.expect("a frame is shorter than what may be encrypted");
        *tag.as_ref().first_chunk().expect("a tag has its length")
    }

    /// Decrypts it. `None` if it, or what it is bound to, is not what was encrypted.
    pub(crate) fn decrypt(&self, text: Text<'_>, tag: [u8; TAG_BYTES]) -> Option<()> {
        let nonce = Nonce::assume_unique_for_key(text.nonce);
        let opened = self.key.open_in_place_separate_tag(nonce, Aad::from(text.bound), Tag::from(tag), text.bytes, 0..);
        opened.ok().map(drop)
    }
}

/// What one reactor encrypts and decrypts with.
#[derive(Debug)]
pub(crate) struct Vault {
    keyring: Arc<Keyring>,
    held: Arc<Held>,
    /// What the keyring had changed when that was taken from it.
    changes: u64,
    salt: [u8; 12],
    /// The data keys used last, the newest first.
    ciphers: Vec<Arc<Cipher>>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({} keys)", self.keys.len())
    }
}

impl Vault {
    /// Of a reactor that begins, which drew `random`.
    pub(crate) fn new(random: [u8; 16]) -> Vault {
        let [salt @ .., _, _, _, _] = random;
        let (keyring, held) = (Arc::default(), Arc::default());
        Vault { keyring, held, changes: 0, salt, ciphers: Vec::new() }
    }

    /// The keys are these from now on.
    pub(crate) fn use_keyring(&mut self, keyring: Arc<Keyring>) {
        (self.held, self.changes, self.keyring) = (keyring.held(), 0, keyring);
        self.ciphers.clear();
    }

    /// What a stream with a key of this name is encrypted with now. `None`: there is no such key.
    pub(crate) fn encrypting(&mut self, name: &str) -> Option<Arc<Cipher>> {
        self.take_up_changes();
        let key = *self.held.newest.get(key_name(name))?;
        self.cipher(KeyUse { key, salt: self.salt })
    }

    /// What a frame was encrypted with. `None`: the key is not there.
    pub(crate) fn decrypting(&mut self, with: KeyUse) -> Option<Arc<Cipher>> {
        self.take_up_changes();
        self.cipher(with)
    }

    fn take_up_changes(&mut self) {
        let changes = self.keyring.changes.load(Ordering::Acquire);
        if changes != self.changes {
            (self.held, self.changes) = (self.keyring.held(), changes);
            self.ciphers.clear();
        }
    }

    fn cipher(&mut self, with: KeyUse) -> Option<Arc<Cipher>> {
        match self.ciphers.iter().position(|cipher| cipher.with == with) {
            Some(0) => {}
            Some(at) => self.ciphers[..=at].rotate_right(1),
            None => {
                let cipher = Arc::new(Cipher::new(self.held.keys.get(&with.key)?, with));
                self.ciphers.truncate(CIPHERS_KEPT_MAX - 1);
                self.ciphers.insert(0, cipher);
            }
        }
        self.ciphers.first().cloned()
    }
}

#[cfg(test)]
#[path = "encryption_tests.rs"]
mod tests;
