//! Requests of the published suite are verified, and none of them once a byte of its head is another.

use super::*;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// When they were signed.
const TIME_S: i64 = 1_440_938_160;

struct Vector {
    name: &'static str,
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: &'static str,
}

/// All of the file.
fn vectors() -> Vec<Vector> {
    let mut found = Vec::new();
    for text in include_str!("vectors.txt").split("=== ").skip(1) {
        let (name, request) = text.split_once('\n').unwrap();
        let (head, body) = request.trim_end_matches('\n').split_once("\n\n").unwrap_or((request.trim_end(), ""));
        let (line, headers) = head.split_once('\n').unwrap();
        let (method, rest) = line.split_once(' ').unwrap();
        let target = rest.strip_suffix(" HTTP/1.1").unwrap().to_owned();
        let headers = headers.lines().map(|line| line.split_once(':').unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        found.push(Vector { name, method, target, headers, body });
    }
    assert_eq!(found.len(), 29);
    found
}

fn verified(vector: &Vector) -> Result<Claim, Error> {
    let (path, query) = vector.target.split_once('?').unwrap_or((&vector.target, ""));
    let headers = vector.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let head = Head { method: vector.method, path, query, headers };
    let claim = Claim::parse(&head)?;
    claim.check("service", |region| region == "us-east-1", TIME_S)?;
    claim.verify(&head, &Secret::new(SECRET.to_owned()), vector.body.as_bytes())?;
    // Of another key there is another secret.
    if claim.key == "AKIDEXAMPLE" { Ok(claim) } else { Err(invalid("another key".to_owned())) }
}

#[test]
fn requests_of_the_suite_are_verified() {
    for vector in vectors() {
        let claim = verified(&vector).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        let has_token = ["get-vanilla-with", "post-sts-header"].iter().any(|name| vector.name.starts_with(name));
        assert_eq!(claim.token.is_some(), has_token, "{}", vector.name);
    }
}

#[test]
fn no_changed_byte_of_the_suite_is_verified() {
    let mut tried = 0;
    for vector in vectors() {
        let changed = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            String::from_utf8(bytes).ok()
        };
        let mut refused = |what: Vector| {
            tried += 1;
            assert!(verified(&what).is_err(), "{} {:?}", what.target, what.headers);
        };
        // Where a path leads out of again is of no matter.
        for at in (1..vector.target.len()).filter(|_| !vector.target.contains("..")) {
            let Some(target) = changed(&vector.target, at) else { continue };
            let headers = vector.headers.clone();
            refused(Vector { target, headers, ..vector });
        }
        for (header, (name, value)) in vector.headers.iter().enumerate() {
            // A token that is not signed is held against the key's by who has the key.
            if name == "x-amz-security-token" {
                continue;
            }
            for at in (0..value.len()).filter(|at| value.as_bytes()[*at] != b' ') {
                let Some(value) = changed(value, at) else { continue };
                let mut headers = vector.headers.clone();
                headers[header].1 = value;
                refused(Vector { target: vector.target.clone(), headers, ..vector });
            }
        }
        let headers = vector.headers.clone();
        refused(Vector { body: "x", target: vector.target.clone(), headers, ..vector });
    }
    assert!(tried > 5000, "{tried}");
}
