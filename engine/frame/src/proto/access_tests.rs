//! Tests of challenge and proof: both ends against each other, and against those who listened.

use super::*;
use crate::id::RequestId;
use crate::proto::{Client, ClientEvent, Server, ServerEvent, ServerLimits, Violation};

const LIMITS: ServerLimits = ServerLimits { window_bytes: 1 << 20, window_batches: 4 };
const SECRET: &[u8] = b"correct horse battery staple";

fn server(secret: &[u8], nonce: u8) -> Server {
    let mut server = Server::new();
    server.require(Secret::new(secret).unwrap(), [nonce; NONCE_BYTES]);
    server
}

/// Everything that is said, until one of them objects.
fn talk(client: &mut Client, mut said: Vec<u8>, server: &mut Server) -> (Vec<u8>, Result<bool, Violation>) {
    let mut all = said.clone();
    loop {
        let mut answer = Vec::new();
        let mut at = 0;
        while let Some(event) = match server.step(&said, &mut at) {
            Ok(event) => event,
            Err(violation) => return (all, Err(violation)),
        } {
            match event {
                ServerEvent::Challenge(request) => server.challenge(&mut answer, request),
                ServerEvent::Hello(request) => server.welcome(&mut answer, request, 1, LIMITS),
                other => panic!("{other:?}"),
            }
        }
        all.extend_from_slice(&answer);
        said.clear();
        let mut at = 0;
        while let Some(event) = match client.step(&answer, &mut at) {
            Ok(event) => event,
            Err(violation) => return (all, Err(violation)),
        } {
            match event {
                ClientEvent::Challenge if !client.prove(&mut said) => return (all, Ok(false)),
                ClientEvent::Challenge | ClientEvent::Proven => {}
                ClientEvent::Welcome(_) => return (all, Ok(true)),
                other => panic!("{other:?}"),
            }
        }
        all.extend_from_slice(&said);
    }
}

fn client(secret: Option<&[u8]>, nonce: u8) -> (Client, Vec<u8>) {
    let mut hello = Vec::new();
    let mut client = Client::new(&mut hello);
    if let Some(secret) = secret {
        client.require(Secret::new(secret).unwrap(), [nonce; NONCE_BYTES]);
    }
    (client, hello)
}

#[test]
fn who_knows_the_secret_is_heard_and_it_is_never_sent() {
    let (mut asks, hello) = client(Some(SECRET), 1);
    let (said, outcome) = talk(&mut asks, hello, &mut server(SECRET, 2));
    assert_eq!(outcome, Ok(true));
    assert!(!said.windows(8).any(|part| SECRET.windows(8).any(|secret| part == secret)));
}

#[test]
fn who_does_not_is_not() {
    let (mut asks, hello) = client(Some(b"correct horse battery stable"), 1);
    assert_eq!(talk(&mut asks, hello, &mut server(SECRET, 2)).1, Err(Violation::Access));
    let (mut asks, hello) = client(None, 1);
    assert_eq!(talk(&mut asks, hello, &mut server(SECRET, 2)).1, Ok(false));
    // Nor is whoever goes on as if nothing had been asked.
    let (mut asks, mut hello) = client(None, 1);
    asks.ping(&mut hello);
    assert_eq!(talk(&mut asks, hello, &mut server(SECRET, 2)).1, Err(Violation::Handshake));
}

#[test]
fn a_server_has_to_prove_it_as_well() {
    let (mut asks, hello) = client(Some(SECRET), 1);
    assert_eq!(talk(&mut asks, hello, &mut Server::new()).1, Err(Violation::Unproven));
    // One that answers with the client's own proof does not know it.
    let (mut asks, _) = client(Some(SECRET), 1);
    let (mut challenge, mut proof) = (Vec::new(), Vec::new());
    server(SECRET, 1).challenge(&mut challenge, RequestId(0));
    assert_eq!(asks.step(&challenge, &mut 0), Ok(Some(ClientEvent::Challenge)));
    assert!(asks.prove(&mut proof));
    let own = proof[proof.len() - PROOF_BYTES..].try_into().unwrap();
    let mut echo = Vec::new();
    crate::proto::message::Control::encode(&crate::proto::message::Proven { proof: own }, &mut echo, RequestId(0));
    assert_eq!(asks.step(&echo, &mut 0), Err(Violation::Access));
}

#[test]
fn a_proof_is_worth_nothing_on_another_connection() {
    let (mut asks, hello) = client(Some(SECRET), 1);
    let mut first = server(SECRET, 2);
    let mut at = 0;
    assert_eq!(first.step(&hello, &mut at), Ok(Some(ServerEvent::Challenge(RequestId(0)))));
    let (mut challenge, mut proof) = (Vec::new(), Vec::new());
    first.challenge(&mut challenge, RequestId(0));
    asks.step(&challenge, &mut 0).unwrap();
    assert!(asks.prove(&mut proof));
    let replayed = [hello, proof].concat();
    let mut second = server(SECRET, 3);
    let mut at = 0;
    assert_eq!(second.step(&replayed, &mut at), Ok(Some(ServerEvent::Challenge(RequestId(0)))));
    assert_eq!(second.step(&replayed, &mut at), Err(Violation::Access));
    assert!(second.awaits_proof());
    // A proof that nobody asked for, and a second one.
    let mut at = 0;
    let (_, hello) = client(None, 1);
    assert_eq!(server(SECRET, 2).step(&replayed[hello.len()..], &mut at), Err(Violation::Handshake));
    let twice = [&replayed[..], &replayed[hello.len()..]].concat();
    let mut at = 0;
    first = server(SECRET, 2);
    assert!(first.step(&twice, &mut at).is_ok() && first.step(&twice, &mut at).is_ok());
    assert!(!first.awaits_proof());
    assert_eq!(first.step(&twice, &mut at), Err(Violation::Kind(49)));
}

#[test]
fn secrets_have_a_length_and_are_not_shown() {
    assert!(Secret::new(&[1; SECRET_BYTES_MIN - 1]).is_none() && Secret::new(&[1; SECRET_BYTES_MAX + 1]).is_none());
    assert_eq!(format!("{:?}", Secret::new(SECRET).unwrap()), "Secret");
}

#[test]
fn a_secret_in_a_file_is_its_owners_alone_and_long() {
    let secret = Secret::new(SECRET).unwrap();
    assert_eq!(Secret::of_file(0o100_600, &[b" \n", SECRET, b"\r\n"].concat()), Ok(secret));
    for mode in [0o640, 0o604, 0o610] {
        assert_eq!(Secret::of_file(mode, SECRET), Err(UnfitSecret::Open), "{mode:o}");
    }
    assert_eq!(Secret::of_file(0o600, b"\n"), Err(UnfitSecret::Length(0)));
    assert_eq!(Secret::of_file(0o600, &[b'x'; SECRET_FILE_BYTES_MAX]), Err(UnfitSecret::Length(SECRET_FILE_BYTES_MAX)));
}
