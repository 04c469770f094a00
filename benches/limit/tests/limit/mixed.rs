//! `limit mixed`.

use crate::program::{Folder, measure, number};

#[test]
fn writes_and_reads_keep_their_rates() {
    let folder = Folder::new("mixed");
    let arguments = "mixed --size 16k --depth 2 --write-rate 2m --read-budget 1m --seconds 0.5 --file-bytes 1m --dir";
    let words: Vec<&str> = arguments.split(' ').chain([folder.text()]).collect();
    let Some(found) = measure(&words) else {
        return;
    };
    let rate = |kind: &str| number(&found[kind]["bytes"]) / number(&found[kind]["seconds"]);
    // No more than asked for, the first of each at once; less where the disk can't.
    assert!(rate("writes") > 0.0 && rate("writes") <= f64::from(2 << 20) * 1.1, "{found}");
    assert!(rate("reads") > 0.0 && rate("reads") <= f64::from(1 << 20) * 1.1, "{found}");
    assert_eq!(folder.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn a_sweep_names_the_most_that_leaves_the_writes_their_rate() {
    let folder = Folder::new("mixed-sweep");
    let arguments =
        "mixed --size 16k --write-rate 64k --read-budget 64k,256k --sweep --seconds 0.6 --file-bytes 1m --dir";
    let words: Vec<&str> = arguments.split(' ').chain([folder.text()]).collect();
    let Some(found) = measure(&words) else {
        return;
    };
    let points = found["points"].as_array().expect("a sweep has points");
    assert_eq!(points.len(), 2);
    let kept = |point: &serde_json::Value| number(&point["writes"]["mb_per_s"]) >= 0.98 * 0.065_536;
    let most = points.iter().filter(|point| kept(point)).map(|point| number(&point["reads"]["mb_per_s"]));
    let most = most.fold(0.0, f64::max);
    if most > 0.0 {
        assert_eq!(number(&found["best"]["reads"]["mb_per_s"]), most, "{found}");
    }
}
