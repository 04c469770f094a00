//! `limit read`.

use crate::program::{Folder, limit, measure, number};

#[test]
fn every_byte_is_read_once() {
    let folder = Folder::new("read-once");
    let arguments = ["read", "--bytes", "4m", "--size", "64k", "--depth", "3", "--dir", folder.text()];
    let Some(found) = measure(&arguments) else {
        return;
    };
    let figures = &found["figures"];
    assert_eq!(number(&figures["bytes"]), f64::from(4 << 20));
    assert_eq!(number(&figures["ops"]), 64.0);
    assert!(number(&figures["seconds"]) > 0.0 && number(&figures["latency_us"]["p50"]) > 0.0, "{found}");
    assert_eq!(folder.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn a_part_of_a_read_is_refused() {
    let folder = Folder::new("read-part");
    let output = limit(&["read", "--bytes", "100k", "--size", "64k", "--dir", folder.text()]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("--bytes 102400 is not whole reads of 65536: give a multiple of --size"), "{errors}");
}
