//! Limit (e): an HTTP server of the same library and settings as the gateway, that takes each body in, hashes it with SHA-256,
//! as a signature has it, and answers 200. It keeps nothing: what it does is the least that a server of the Kinesis API does.
//!
//! What a load generator asks before and after the load is answered as the API does, of one stream that is always there.

use std::fmt::Write;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use sha2::{Digest, Sha256};

use crate::error::LimitError;

/// What the gateway lets one body of HTTP/2 have on its way, and all of a connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of a head there, and what of an answer waits to be sent.
const HEAD_BYTES_MAX: usize = 64 << 10;
const SEND_BYTES_MAX: usize = 256 << 10;

/// The header in which an answer has the hash of what was asked.
const HASH: &str = "x-body-sha256";

/// What is served, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) threads: usize,
    /// Records that each answer to PutRecords tells of.
    pub(crate) records: u32,
    /// Shards of the one stream.
    pub(crate) shards: u32,
}

/// What was taken in.
#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    body_bytes: AtomicU64,
}

/// The same at the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) requests: u64,
    pub(crate) body_bytes: u64,
}

/// Every answer there is, made once.
struct Answers {
    put_record: Bytes,
    put_records: Bytes,
    summary: Bytes,
    shards: Bytes,
}

impl Answers {
    fn new(served: Served) -> Self {
        // Numbers as long as the service's.
        let outcome = |number: u32| {
            let (number, shard) = (u64::from(number), number % served.shards);
            format!(r#"{{"SequenceNumber":"4966{number:052}","ShardId":"shardId-{shard:012}"}}"#)
        };
        let outcomes: Vec<String> = (0..served.records).map(outcome).collect();
        let shard = |number: u32| {
            format!(
                r#"{{"ShardId":"shardId-{number:012}","SequenceNumberRange":{{"StartingSequenceNumber":"4966{:052}"}}}}"#,
                0
            )
        };
        let shards: Vec<String> = (0..served.shards).map(shard).collect();
        let stream = r#"{"StreamDescriptionSummary":{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/limit","StreamStatus":"ACTIVE"}}"#;
        Self {
            put_record: outcome(0).into(),
            put_records: format!(r#"{{"FailedRecordCount":0,"Records":[{}]}}"#, outcomes.join(",")).into(),
            summary: stream.into(),
            shards: format!(r#"{{"Shards":[{}]}}"#, shards.join(",")).into(),
        }
    }

    fn to(&self, headers: &HeaderMap) -> (u16, Bytes) {
        let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        match target.rsplit('.').next().unwrap_or_default() {
            "PutRecords" => (200, self.put_records.clone()),
            "PutRecord" => (200, self.put_record.clone()),
            "CreateStream" | "DeleteStream" => (200, Bytes::new()),
            "DescribeStreamSummary" => (200, self.summary.clone()),
            "ListShards" => (200, self.shards.clone()),
            _ => (400, Bytes::from_static(br#"{"__type":"UnknownOperationException","message":"It keeps nothing."}"#)),
        }
    }
}

/// Serves until `until` ends; `ready` hears where.
pub(crate) fn run(served: Served, mut until: impl Read, ready: impl FnOnce(SocketAddr)) -> Result<Taken, LimitError> {
    let failed = |step| move |source: io::Error| LimitError::Socket { step, source };
    let listener = TcpListener::bind(served.address).map_err(failed("bind"))?;
    listener.set_nonblocking(true).map_err(failed("listen"))?;
    let address = listener.local_addr().map_err(failed("listen"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(served.threads)
        .thread_name("http")
        .enable_io()
        .enable_time()
        .build()
        .map_err(failed("start threads for"))?;
    let counts = Arc::new(Counts::default());
    {
        let _inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed("listen"))?;
        runtime.spawn(accept(listener, Arc::new(Answers::new(served)), Arc::clone(&counts)));
    }
    ready(address);
    // Whatever is said: it is the end that counts.
    let _ = io::copy(&mut until, &mut io::sink());
    runtime.shutdown_background();
    let told = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok(Taken { requests: told(&counts.requests), body_bytes: told(&counts.body_bytes) })
}

async fn accept(listener: tokio::net::TcpListener, answers: Arc<Answers>, counts: Arc<Counts>) {
    let builder = Arc::new(builder());
    // The first that can't be accepted ends it: nothing is measured then.
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let (builder, answers, counts) = (Arc::clone(&builder), Arc::clone(&answers), Arc::clone(&counts));
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let (answers, counts) = (Arc::clone(&answers), Arc::clone(&counts));
                async move { answer(&answers, &counts, request).await }
            });
            // What a client does wrong ends its connection and nothing else.
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    answers: &Answers,
    counts: &Counts,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, mut body) = request.into_parts();
    let (mut hash, mut body_bytes) = (Sha256::new(), 0);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            hash.update(&data);
            body_bytes += data.len() as u64;
        }
    }
    let mut hexadecimal = String::with_capacity(64);
    for byte in hash.finalize() {
        let _ = write!(hexadecimal, "{byte:02x}");
    }
    counts.requests.fetch_add(1, Ordering::Relaxed);
    counts.body_bytes.fetch_add(body_bytes, Ordering::Relaxed);
    let (status, body) = answers.to(&parts.headers);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("200 and 400 are statuses");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    headers.insert(HASH, HeaderValue::try_from(hexadecimal).expect("they are digits"));
    Ok(response)
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX);
    builder
}
