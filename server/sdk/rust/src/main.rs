//! Puts 10,000 records with the Rust SDK, reads them back and compares; asks for what is not there.
//!
//!     rust-sdk ENDPOINT all|again|limits
//!     rust-sdk ENDPOINT latency CONSUMERS SECONDS
//!
//! Over TLS, AWS_CA_BUNDLE names the file of the certificate that is trusted.
//!
//! `again` reads what an earlier `all` put, after the server was started again. `limits` reads more often than a shard allows.

mod latency;
mod tour;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::SharedHttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use tour::Outcome;

const USAGE: &str = "usage: rust-sdk ENDPOINT all|again|limits|latency CONSUMERS SECONDS";

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, endpoint, what, how @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    match (&**what, how) {
        ("all", []) => tour::all(&client(endpoint)?).await,
        ("again", []) => tour::again(&client(endpoint)?).await,
        ("limits", []) => tour::beyond_limits(&client(endpoint)?).await,
        ("latency", [consumers, seconds]) => {
            latency::measure(|| client(endpoint), consumers.parse()?, seconds.parse()?).await
        }
        _ => Err(USAGE.into()),
    }
}

/// A client with connections of its own, of the key that the environment has.
fn client(endpoint: &str) -> Outcome<Client> {
    let variable = std::env::var;
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    Ok(tour::client(endpoint, (&id, &secret), http(endpoint)?))
}

/// HTTP/1.1 in clear; over TLS what the server offers, HTTP/2 before all.
fn http(endpoint: &str) -> Outcome<SharedHttpClient> {
    let builder = aws_smithy_http_client::Builder::new();
    if !endpoint.starts_with("https:") {
        return Ok(builder.build_http());
    }
    let trusted = std::fs::read(std::env::var("AWS_CA_BUNDLE")?)?;
    let context = TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(trusted)).build()?;
    Ok(builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(context).build_https())
}
