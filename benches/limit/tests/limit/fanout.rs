//! `limit fanout`.

use crate::program::{cores, measure, number};

#[test]
fn every_socket_gets_the_same_bytes() {
    let cores = cores();
    for arguments in
        ["fanout --sockets 5 --size 100k --seconds 0.2", "fanout --sockets 5 --size 100k --seconds 0.2 --verify"]
    {
        check(arguments, &cores);
    }
}

fn check(arguments: &str, cores: &[String]) {
    let mut words: Vec<&str> = arguments.split(' ').collect();
    words.extend(cores.iter().map(String::as_str));
    let Some(found) = measure(&words) else {
        return;
    };
    let bytes = number(&found["bytes"]);
    assert_eq!(number(&found["ops"]) * 102_400.0, bytes, "{found}");
    assert!(number(&found["socket_bytes_min"]) >= 102_400.0, "{found}");
    assert!(number(&found["socket_bytes_min"]) <= bytes / 5.0, "{found}");
    assert!((number(&found["mb_per_s"]) * 1e6 * number(&found["seconds"]) / bytes - 1.0).abs() < 1e-6);
    assert!(number(&found["send_cpu_s"]) > 0.0 && number(&found["receive_cpu_s"]) > 0.0);
}
