//! Tests of keys and data keys.

use super::*;

fn key(name: &str, version: u32, byte: u8) -> Key {
    Key { name: name.to_owned(), version, secret: [byte; KEY_BYTES] }
}

fn vault(keyring: &Arc<Keyring>, random: u8) -> Vault {
    let mut vault = Vault::new([random; 16]);
    vault.use_keyring(Arc::clone(keyring));
    vault
}

fn text<'a>(bytes: &'a mut [u8], bound: &'a [u8]) -> Text<'a> {
    Text { nonce: [3; 12], bound, bytes }
}

#[test]
fn what_was_encrypted_is_decrypted_and_nothing_else() {
    let keyring = Arc::new(Keyring::default());
    keyring.replace(vec![key("mine", 1, 1)]).unwrap();
    let cipher = vault(&keyring, 1).encrypting("mine").unwrap();
    let mut bytes = *b"the plain text";
    let tag = cipher.encrypt(text(&mut bytes, b"bound"));
    assert_ne!(&bytes, b"the plain text");

    let other = vault(&keyring, 2).decrypting(cipher.with()).unwrap();
    let mut copy = bytes;
    assert!(other.decrypt(text(&mut copy, b"bound"), tag).is_some());
    assert_eq!(&copy, b"the plain text");
    assert!(other.decrypt(text(&mut bytes.clone(), b"found"), tag).is_none());
    for at in 0..bytes.len() {
        let mut flipped = bytes;
        flipped[at] ^= 4;
        assert!(other.decrypt(text(&mut flipped, b"bound"), tag).is_none(), "byte {at}");
    }
    for at in 0..TAG_BYTES {
        let mut flipped = tag;
        flipped[at] ^= 4;
        assert!(other.decrypt(text(&mut bytes.clone(), b"bound"), flipped).is_none(), "byte {at} of the tag");
    }
    let elsewhere = Text { nonce: [4; 12], bound: b"bound", bytes: &mut bytes.clone() };
    assert!(other.decrypt(elsewhere, tag).is_none(), "it was in another place");
}

#[test]
fn each_life_has_data_keys_of_its_own() {
    let keyring = Arc::new(Keyring::default());
    keyring.replace(vec![key("mine", 1, 1)]).unwrap();
    let texts: Vec<[u8; 32]> = (0..3)
        .map(|life| {
            let mut bytes = [0; 32];
            vault(&keyring, life).encrypting("mine").unwrap().encrypt(text(&mut bytes, b""));
            bytes
        })
        .collect();
    assert!(texts[0] != texts[1] && texts[1] != texts[2] && texts[0] != texts[2]);
}

#[test]
fn the_highest_version_encrypts_and_the_others_stay_for_what_there_is() {
    let keyring = Arc::new(Keyring::default());
    keyring.replace(vec![key("mine", 9, 9), key("mine", 10, 10), key("other", 11, 11)]).unwrap();
    let mut vault = vault(&keyring, 1);
    let old = vault.encrypting("arn:of:a/path/mine").unwrap().with();
    assert_eq!(old.key, key("", 0, 10).identifier(), "versions are numbers");
    assert!(vault.encrypting("min").is_none() && vault.encrypting("").is_none());

    keyring.replace(vec![key("mine", 10, 10), key("mine", 12, 12)]).unwrap();
    assert_eq!(vault.encrypting("mine").unwrap().with().key, key("", 0, 12).identifier());
    assert!(vault.decrypting(old).is_some());
    assert!(!keyring.has("other") && keyring.has("alias/mine"));

    keyring.replace(vec![key("mine", 12, 12)]).unwrap();
    assert!(vault.decrypting(old).is_none(), "what is gone is not remembered");
}

#[test]
fn keys_that_are_no_set_are_refused_and_those_of_before_stay() {
    let keyring = Keyring::default();
    keyring.replace(vec![key("mine", 1, 1)]).unwrap();
    let twice = keyring.replace(vec![key("other", 1, 1), key("other", 1, 2)]);
    assert_eq!(twice, Err(KeyringError::Twice("other".to_owned(), 1)));
    assert!(keyring.has("mine") && !keyring.has("other"));
}

#[test]
fn no_secret_is_told() {
    let keyring = Keyring::default();
    keyring.replace(vec![key("mine", 1, 0x5a)]).unwrap();
    let told = format!("{keyring:?}");
    assert!(told.contains("mine") && !told.contains("90") && !told.contains("5a5a"), "{told}");
}

#[test]
fn few_data_keys_are_kept_however_many_lives_are_read() {
    let keyring = Arc::new(Keyring::default());
    keyring.replace(vec![key("mine", 1, 1)]).unwrap();
    let mut vault = vault(&keyring, 1);
    let own = vault.encrypting("mine").unwrap().with();
    for life in 0..CIPHERS_KEPT_MAX as u8 + 3 {
        let with = KeyUse { salt: [life; 12], ..own };
        assert_eq!(vault.decrypting(with).unwrap().with(), with);
        assert!(vault.ciphers.len() <= CIPHERS_KEPT_MAX);
    }
}
