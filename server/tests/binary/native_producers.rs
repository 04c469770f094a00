//! Producers of the native client's crate against the real server: what they tell of records that were not stored, and when
//! those wait no longer that are to gather.

use std::io::{Read, Write, copy};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::spawn;
use std::time::Duration;

use ::client::{AppendError, Client, ErrorCode, Fault, Options, Producer, ProducerOptions, Quotas, Sequence};
use tokio::time::timeout;

use crate::native::{KEYS, connect, give, key_of, options, stored};
use crate::rig::{PATIENCE, Server, directory, run};

/// Long enough that who waits for it is not waiting for it.
const NEVER: Duration = Duration::from_secs(3600);

/// A producer whose records leave together when it is flushed, and are not sent again when they are refused.
async fn impatient(server: &Server, stream: &str, name: Option<&str>) -> Producer {
    let client = Client::connect(Options { patience: Duration::ZERO, ..options(server.address) }).await.unwrap();
    client.create_stream(stream, 1, Quotas { write_records: NonZeroU32::new(10), ..Quotas::NONE }).await.unwrap();
    let name = name.map(str::to_owned);
    client.producer(stream, ProducerOptions { name, linger: NEVER, ..ProducerOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn a_flush_tells_how_many_were_not_stored_and_why() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let producer = impatient(&server, "limited", None).await;
    let given = give(&producer, 0..50).await;
    let unstored = producer.flush().await.unwrap_err();
    assert!(matches!(unstored.cause, AppendError::Refused(ErrorCode::WriteRecordsExceeded)), "{unstored}");
    assert_eq!((unstored.fault(), unstored.first_number), (Fault::Throttled, None));
    let mut acknowledged = 0;
    for pending in given {
        acknowledged += u64::from(pending.await.is_ok());
    }
    assert_eq!(acknowledged + unstored.records, 50);
    let found: usize = stored(&server, "limited").values().map(Vec::len).sum();
    assert_eq!(found as u64, acknowledged);
    // Each is told once, also where nobody waited for it.
    producer.flush().await.unwrap();
    drop(give(&producer, 50..100).await);
    assert!(producer.close().await.unwrap_err().records >= 30);
    server.stop();
}

#[test]
fn what_a_runtime_took_along_when_it_ended_is_told() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let producer = first.block_on(async {
        let client = connect(&server).await;
        client.create_stream("held", 1, Quotas::NONE).await.unwrap();
        let options = ProducerOptions { linger: NEVER, ..ProducerOptions::default() };
        let producer = client.producer("held", options).await.unwrap();
        drop(producer.send(key_of(0).as_bytes(), b"never sent").await.unwrap());
        producer
    });
    drop(first);
    let unstored = runtime().block_on(producer.close()).unwrap_err();
    assert!(unstored.records == 1 && matches!(unstored.cause, AppendError::Ended), "{unstored}");
    server.stop();
}

/// None of the records is sent before its time, but who waits for room can't wait for that.
#[tokio::test]
async fn who_has_more_than_there_is_room_for_waits_for_answers_alone() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let client = connect(&server).await;
    client.create_stream("narrow", 1, Quotas::NONE).await.unwrap();
    // A frame of 100 bytes of data takes 152.
    let options = ProducerOptions { linger: NEVER, in_flight_bytes: 400, ..ProducerOptions::default() };
    let producer = client.producer("narrow", options).await.unwrap();
    let mut given = Vec::new();
    for number in 0..2 {
        given.push(producer.send(b"key", &[number; 100]).await.unwrap());
    }
    let mut third = pin!(producer.send(b"key", &[2; 100]));
    assert!(matches!(third.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    given.push(timeout(PATIENCE, third).await.expect("it waits for the linger").unwrap());
    for number in 3..20 {
        given.push(timeout(PATIENCE, producer.send(b"key", &[number; 100])).await.expect("likewise").unwrap());
    }
    // Nobody waits any more, so that the last gathers again.
    assert!(timeout(Duration::from_millis(50), given.last_mut().unwrap()).await.is_err());
    producer.flush().await.unwrap();
    for (pending, sequence) in given.into_iter().zip(1..) {
        assert_eq!(pending.await.unwrap().sequence, Some(Sequence(sequence)));
    }
    let error = producer.append(&[b'k'; 2000], b"").await.unwrap_err();
    assert_eq!(error.fault(), Fault::Caller, "{error}");
    server.stop();
}

/// The first record over the quota is given up, and with it all that follow; from its number on another producer goes on.
#[tokio::test]
async fn a_named_producer_that_gives_up_tells_where_to_go_on() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let producer = impatient(&server, "numbered", Some("n")).await;
    assert_eq!(producer.first_unstored(), Some(1));
    let given = give(&producer, 0..50).await;
    let unstored = producer.flush().await.unwrap_err();
    let first = unstored.first_number.unwrap();
    assert!(first > 1 && unstored.records >= 51 - first, "{first} {unstored}");
    assert!(matches!(unstored.cause, AppendError::Refused(ErrorCode::WriteRecordsExceeded)), "{unstored}");
    let mut stored_first = 0;
    for (number, pending) in (1..).zip(given) {
        match pending.await {
            Ok(_) if number < first => stored_first = number,
            Ok(_) => assert!(number > first, "{number} is said not to be stored"),
            Err(_) => assert!(number >= first, "{number} is said to be stored"),
        }
    }
    assert_eq!(stored_first, first - 1);
    let error = producer.send(b"k", b"too late").await.unwrap_err();
    assert!(matches!(error, AppendError::GivenUp { first_number, .. } if first_number == first), "{error}");
    assert_eq!(producer.first_unstored(), Some(first));

    run(server.command(["streams", "quotas", "numbered", "none"]), b"").good();
    let client = connect(&server).await;
    let options = ProducerOptions { first_number: first, ..ProducerOptions::named("n") };
    let producer = client.producer("numbered", options).await.unwrap();
    for pending in give(&producer, first as usize - 1..50).await {
        pending.await.unwrap();
    }
    assert_eq!(producer.first_unstored(), Some(51));
    producer.close().await.unwrap();
    let found = stored(&server, "numbered");
    assert!((0..KEYS).all(|key| found[&key_of(key)].iter().copied().eq((key..50).step_by(KEYS))), "{found:?}");

    // Another input under the same name: each record that is not the one of its number is told its number.
    let options = ProducerOptions { first_number: 49, ..ProducerOptions::named("n") };
    client.create_stream("other", 1, Quotas::NONE).await.unwrap();
    let ahead = client.producer("other", options.clone()).await.unwrap();
    ahead.append(b"k", b"49").await.unwrap();
    let behind = client.producer("other", ProducerOptions { first_number: 7, ..options }).await.unwrap();
    let error = behind.append(b"k", b"7").await.unwrap_err();
    assert!(matches!(error, AppendError::NumberPassed { number: 7 }), "{error}");
    assert_eq!(behind.close().await.unwrap_err().first_number, Some(7));
    server.stop();
}

/// Stands before a server: whoever connects is greeted by it, and loses the connection with what is sent next. How many came is
/// counted.
fn greets_and_closes(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
            let server = TcpStream::connect(server).unwrap();
            let (mut said, mut heard) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            spawn(move || copy(&mut said, &mut heard));
            let (mut client, mut server) = (client, server);
            spawn(move || {
                let mut some = [0; 4096];
                // Appends are the first that is large.
                while let Ok(bytes @ 1..1000) = client.read(&mut some) {
                    server.write_all(&some[..bytes]).unwrap();
                }
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    (address, count)
}

/// Bug, found on reading: against a server that welcomes and then closes, a producer connected again without a pause, for ever.
/// Mechanism: a connection that was made ended the attempts. Fix: what is heard over it does.
#[tokio::test]
async fn a_connection_that_brings_nothing_is_an_attempt_that_failed() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let client = connect(&server).await;
    client.create_stream("once", 1, Quotas::NONE).await.unwrap();
    let (address, count) = greets_and_closes(server.address);
    let patience = Duration::from_secs(2);
    let client = Client::connect(Options { patience, ..options(address) }).await.unwrap();
    let named = ProducerOptions { name: Some("one".to_owned()), ..ProducerOptions::default() };
    let producer = client.producer("once", named).await.unwrap();
    let pending = producer.send(b"key", &[7; 3000]).await.unwrap();
    let told = timeout(PATIENCE, pending).await.expect("patience ends").unwrap_err();
    assert!(matches!(told, AppendError::Connection(_) | AppendError::Unknown(_)), "{told}");
    let count = count.load(Ordering::Relaxed);
    assert!((3..60).contains(&count), "{count} connections in two seconds");
    server.stop();
}
