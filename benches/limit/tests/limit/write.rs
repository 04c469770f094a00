//! `limit write` and `limit steady`.

use crate::program::{Folder, check_figures, check_flushes, limit, measure, number, skip};

#[test]
fn one_durable_write_at_a_time_is_one_flush_each() {
    let folder = Folder::new("write-one");
    let arguments = "write --size 4k --depth 1 --seconds 0.3 --file-bytes 4m --dir";
    let Some(point) = measure(&words(arguments, &folder)) else {
        return;
    };
    check_figures(&point);
    check_flushes(&point, 0.95);
    assert_eq!(number(&point["size_bytes"]), 4096.0);
    assert_eq!(folder.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn writes_in_flight_wrap_around_in_written_space() {
    let folder = Folder::new("write-wrap");
    for flush in ["dsync", "fdatasync", "none"] {
        let arguments = format!("write --size 64k --depth 4 --seconds 0.2 --file-bytes 1m --flush {flush} --dir");
        let Some(point) = measure(&words(&arguments, &folder)) else {
            return;
        };
        check_figures(&point);
        assert_eq!(point["space_used_up"], false);
        if flush != "none" {
            check_flushes(&point, 0.0);
        }
    }
}

#[test]
fn allocated_space_is_used_once_and_then_the_run_ends() {
    let folder = Folder::new("write-allocated");
    let arguments = "write --size 64k --depth 4 --seconds 30 --file-bytes 4m --prepare allocated --dir";
    let Some(point) = measure(&words(arguments, &folder)) else {
        return;
    };
    check_figures(&point);
    check_flushes(&point, 0.0);
    assert_eq!(number(&point["figures"]["bytes"]), f64::from(4 << 20));
    assert_eq!(point["space_used_up"], true);
    assert_eq!(folder.files(), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn a_kept_file_is_used_again_only_if_it_was_written() {
    let folder = Folder::new("write-keep");
    let arguments = "write --size 4k --depth 1 --seconds 0.05 --file-bytes 2m --keep --dir";
    let path = folder.path().join("limit-written.dat");
    let inode = || {
        use std::os::unix::fs::MetadataExt;
        let facts = std::fs::metadata(&path).expect("--keep leaves it");
        (facts.ino(), facts.blocks())
    };
    if measure(&words(arguments, &folder)).is_none() {
        return;
    }
    let first = inode();
    measure(&words(arguments, &folder)).expect("it could be measured before");
    assert_eq!(inode(), first);
    // A hole of the right length is no written space.
    let file = std::fs::File::create(&path).expect("it is ours");
    file.set_len(2 << 20).expect("a hole takes no space");
    drop(file);
    measure(&words(arguments, &folder)).expect("it could be measured before");
    assert_eq!(inode().1, first.1, "it was filled again");
}

#[test]
fn a_sweep_names_the_best_of_its_points() {
    let folder = Folder::new("write-sweep");
    let arguments = "write --sweep --size 4k,64k --depth 1,4 --seconds 0.05 --file-bytes 2m --dir";
    let Some(sweep) = measure(&words(arguments, &folder)) else {
        return;
    };
    let points = sweep["points"].as_array().expect("a list of points");
    assert_eq!(points.len(), 4);
    points.iter().for_each(check_figures);
    let rate = |point: &serde_json::Value| number(&point["figures"]["mb_per_s"]);
    let highest = points.iter().map(rate).fold(0.0, f64::max);
    assert_eq!(rate(&sweep["best"]), highest);
}

#[test]
fn fewer_rates_than_it_takes_are_not_steady() {
    let folder = Folder::new("steady");
    let output = limit(&words("steady --json --timeout-s 1 --file-bytes 4m --dir", &folder));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    if errors.contains("io_uring") {
        return skip(&errors);
    }
    assert!(errors.contains("not steady"), "{errors}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(found["steady"], false);
    let rates = found["rates_mb_per_s"].as_array().expect("a list of rates");
    assert!(rates.len() == 1 && number(&rates[0]) > 0.0, "{found}");
}

fn words<'a>(arguments: &'a str, folder: &'a Folder) -> Vec<&'a str> {
    arguments.split(' ').chain([folder.text()]).collect()
}
