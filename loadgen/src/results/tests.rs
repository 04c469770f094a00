//! Folders of made-up runs: compared, merged, and refused.

use std::time::{Duration, SystemTime};

use super::*;
use crate::recorder::{BatchTimes, Recorder};
use crate::report::histogram_log::HistogramLog;
use crate::report::{Mark, Recorders, sample, write_folder};
use crate::run::Status;

const MS: u64 = 1_000_000;

/// Writes a run of ten seconds that begins so many milliseconds after some time: so many records a second, each with this
/// latency; its folder.
fn run(results: &Path, begins_ms: u64, per_s: u64, latency_us: u64) -> PathBuf {
    marked_run(results, begins_ms, (per_s, latency_us), None)
}

fn marked_run(results: &Path, begins_ms: u64, (per_s, latency_us): (u64, u64), mark: Option<Mark>) -> PathBuf {
    let mut recorder = Recorder::new(1000 * MS, 10_000 * MS);
    for batch in 0..100 {
        let at_ns = batch * 100 * MS;
        let times = BatchTimes { intended_ns: at_ns, sent_ns: at_ns, acked_ns: at_ns + latency_us * 1000 };
        recorder.acknowledged(times, per_s / 10, per_s * 100);
    }
    written(results, begins_ms, &recorder, mark)
}

/// Writes what was recorded as a run with this mark alone.
fn written(results: &Path, begins_ms: u64, recorder: &Recorder, mark: Option<Mark>) -> PathBuf {
    let mut report = sample::report(recorder);
    report.marks.clear();
    report.marks.extend(mark);
    report.started_unix_ms = 1_800_000_000_000 + begins_ms;
    let started = SystemTime::UNIX_EPOCH + Duration::from_millis(report.started_unix_ms);
    let recorders = Recorders { main: recorder, beside: None, pushed: None, caught_up: None };
    write_folder(results, &report, recorders, started, None).unwrap().path
}

#[test]
fn histograms_are_added_up_not_percentiles() {
    let results = tempfile::tempdir().unwrap();
    // Of four records three take 1 ms and one takes 100: no mean of two medians is the median of all.
    let folders = [run(results.path(), 0, 3000, 1000), run(results.path(), 250, 1000, 100_000)];
    let (report, folder) = merge(&folders, results.path()).unwrap();
    let measured = &report.measured;
    assert!(measured.latency_ns.percentile_ns(50.0).abs_diff(MS) < MS / 100, "{measured:?}");
    assert!(measured.latency_ns.percentile_ns(90.0).abs_diff(100 * MS) < MS, "{measured:?}");
    assert_eq!(measured.records_total, 40_000);
    assert!((measured.records_per_s / 4000.0 - 1.0).abs() < 0.02, "{measured:?}");
    let log = HistogramLog::read(&folder.path.join("latency.hlog")).unwrap();
    let parts = folders.map(|folder| HistogramLog::read(&folder.join("latency.hlog")).unwrap());
    let mut sum = parts[0].tagged("all").unwrap().clone();
    sum.add(parts[1].tagged("all").unwrap()).unwrap();
    assert_eq!(log.tagged("all"), Some(&sum));
    let in_intervals: u64 = log.intervals.iter().map(|(_, _, interval)| interval.len()).sum();
    assert_eq!(in_intervals, sum.len());
    // Aligned by wall time: the second began a quarter of a second later, and nothing is lost on the way.
    let points = &report.throughput.records_per_s;
    assert!(points[1].round() == 3000.0 && points[5].round() == 4000.0, "{points:?}");
    let all: f64 = points.iter().sum::<f64>() * report.throughput.point_s;
    let own: f64 = report.sources.iter().map(|source| source.measured.records_total as f64).sum();
    assert!((all / own - 1.0).abs() < 0.03, "{all} {own}");
    assert_eq!((report.sources.len(), report.merged, report.verification.good), (2, true, true));
    assert!(report.table().starts_with("** merged from 2 generators"));
    for file in ["result.json", "result.txt", "latency.svg", "throughput.svg"] {
        assert!(folder.path.join(file).exists(), "{file}");
    }
    // A merged result is no source, but can be compared.
    assert!(merge(&[folder.path.clone(), run(results.path(), 0, 10, 10)], results.path()).is_err());
    assert!(compare(&[folder.path.clone(), folder.path], results.path()).is_ok());
}

/// Bug: what was merged of late or void runs ended as if all were good.
#[test]
fn what_is_merged_is_worth_what_its_sources_are() {
    let why = || "of a test".to_owned();
    for (marks, status) in [
        ([None, None], Status::Good),
        ([None, Some(Mark::Disturbed(why()))], Status::Good),
        ([Some(Mark::GeneratorLate(why())), None], Status::GeneratorLate),
        ([Some(Mark::GeneratorLate(why())), Some(Mark::Void(why()))], Status::Void),
    ] {
        let results = tempfile::tempdir().unwrap();
        let folders = marks.map(|mark| marked_run(results.path(), 0, (1000, 1000), mark));
        assert_eq!(merge(&folders, results.path()).unwrap().0.status(), status);
    }
}

#[test]
fn what_did_not_run_together_is_not_merged() {
    let results = tempfile::tempdir().unwrap();
    let (one, late) = (run(results.path(), 0, 1000, 1000), run(results.path(), 12_000, 1000, 1000));
    let error = merge(&[one.clone(), late.clone()], results.path()).unwrap_err().to_string();
    let (earlier, later) = (one.display().to_string(), late.display().to_string());
    assert!(error.contains(&format!("{earlier} ended")) && error.contains(&format!("before {later} began")), "{error}");
    let error = merge(&[one.clone(), one.clone()], results.path()).unwrap_err().to_string();
    assert!(error.contains("is named twice"), "{error}");
    let half = run(results.path(), 5000, 1000, 1000);
    let (report, _) = merge(&[one, half], results.path()).unwrap();
    assert!(report.marks[0].text().starts_with("partial: only "), "{:?}", report.marks);
}

#[test]
fn repeats_have_medians_spreads_and_ratios() {
    let results = tempfile::tempdir().unwrap();
    let (one, many) = (results.path().join("one"), results.path().join("many"));
    let alone = run(&one, 0, 1000, 2000);
    for latency_us in [1000, 4000, 3000] {
        run(&many, 0, 1000, latency_us);
    }
    let (comparison, folder) = compare(&[alone, many], results.path()).unwrap();
    let row = comparison.rows.iter().find(|row| row.name == "p99").unwrap();
    let ratio = |ratios: &[Option<f64>]| (ratios[0].unwrap() * 100.0).round();
    assert_eq!((ratio(&row.ratios), ratio(&row.worst_ratios)), (150.0, 200.0));
    let spread = row.sides[1].unwrap();
    assert!(spread.runs == 3 && spread.best < spread.median && spread.median < spread.worst, "{spread:?}");
    let table = comparison.table();
    assert!(table.contains(", worst 2.000") && table.contains("many, 3 runs"), "{table}");
    assert_eq!(comparison.warnings, Vec::<String>::new());
    assert!(std::fs::read_to_string(folder.path.join("latency.svg")).unwrap().contains("many"));
}

/// Bug: a run that measured nothing was the best of a folder, and void runs made its median. Mechanism: the latency of nothing is
/// 0 ns, which no run is better than, and nobody asked for marks. Fix: void runs are left out of the figures, which says so, and
/// a latency of nothing is none.
#[test]
fn void_runs_have_no_part_in_the_figures() {
    let results = tempfile::tempdir().unwrap();
    let (one, many) = (results.path().join("one"), results.path().join("many"));
    let alone = run(&one, 0, 1000, 1000);
    run(&many, 0, 1000, 1000);
    run(&many, 0, 1000, 2000);
    let void = Mark::Void("nothing was measured".to_owned());
    let nothing = written(&many, 0, &Recorder::new(0, 10_000 * MS), Some(void));
    let (comparison, _) = compare(&[alone.clone(), many], results.path()).unwrap();
    for (name, of) in [("p99", [1e6, 2e6, 2e6]), ("records/s", [1000.0; 3])] {
        let found = comparison.rows.iter().find(|row| row.name == name).unwrap().sides[1].unwrap();
        let figures = [found.best, found.median, found.worst];
        assert!(found.runs == 2 && figures.iter().zip(of).all(|(is, of)| (is / of - 1.0).abs() < 0.02), "{found:?}");
    }
    let table = comparison.table();
    assert!(table.contains("many, 2 of 3 runs, one void") && table.contains("void: nothing was measured"), "{table}");
    // Alone it has no figures at all.
    let (comparison, _) = compare(&[nothing, alone], results.path()).unwrap();
    assert!(comparison.rows.iter().all(|row| row.sides[0].is_none() && row.sides[1].is_some()), "{comparison:?}");
}

/// Bug, found on reading: a run that was stopped before anything was measured had a part in the figures, as it is not void.
#[test]
fn runs_that_measured_nothing_have_no_part_in_the_figures() {
    let results = tempfile::tempdir().unwrap();
    let (one, many) = (results.path().join("one"), results.path().join("many"));
    let alone = run(&one, 0, 1000, 1000);
    run(&many, 0, 1000, 2000);
    let stopped = Mark::Partial("stopped by a signal".to_owned());
    written(&many, 0, &Recorder::new(0, 10_000 * MS), Some(stopped));
    let (comparison, _) = compare(&[alone, many], results.path()).unwrap();
    let rate = comparison.rows.iter().find(|row| row.name == "records/s").unwrap().sides[1].unwrap();
    assert!(rate.runs == 1 && rate.worst > 900.0, "{rate:?}");
    let table = comparison.table();
    assert!(table.contains("many, 1 of 2 runs, one in which nothing was measured"), "{table}");
    assert!(table.contains("second by first"), "{table}");
}

#[test]
fn what_was_refused_is_compared() {
    let results = tempfile::tempdir().unwrap();
    let folders = [run(results.path(), 0, 1000, 1000), run(results.path(), 0, 1000, 1000)];
    let path = folders[1].join("result.json");
    let mut result: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    (result["verification"]["acknowledged"], result["verification"]["refused"]) = (40.into(), 60.into());
    std::fs::write(&path, result.to_string()).unwrap();
    let (comparison, _) = compare(&folders, results.path()).unwrap();
    let row = comparison.rows.iter().find(|row| row.name == "refused").unwrap();
    assert_eq!(row.sides[1].unwrap().median, 0.6);
    assert!(comparison.table().contains("60.0 %"), "{}", comparison.table());
}

/// Bug, found on reading: a server under two loads took more of the processor for a gigabyte, and wrote less at once, than under
/// one. Mechanism: what it wrote of the load beside counted nowhere. Fix: both loads count.
#[test]
fn what_the_server_did_for_the_load_beside_counts() {
    let results = tempfile::tempdir().unwrap();
    let folders = [run(results.path(), 0, 1000, 1000), run(results.path(), 0, 1000, 1000)];
    let path = folders[1].join("result.json");
    let mut result: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    result["beside"] = serde_json::json!({ "measured": result["measured"].clone() });
    std::fs::write(&path, result.to_string()).unwrap();
    let (comparison, _) = compare(&folders, results.path()).unwrap();
    let ratio = |name| comparison.rows.iter().find(|row| row.name == name).unwrap().ratios[0].unwrap();
    assert_eq!((ratio("server CPU a GB"), ratio("bytes a flush")), (0.5, 2.0));
}

#[test]
fn what_differs_is_told() {
    let results = tempfile::tempdir().unwrap();
    let folders = [run(results.path(), 0, 1000, 1000), run(results.path(), 0, 1000, 1000)];
    let path = folders[1].join("result.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("0123456789ab", "ba9876543210").replace("\"connections\": 4", "\"connections\": 9");
    std::fs::write(&path, text.replace("\"marks\": []", "\"marks\": [{\"mark\": \"void\", \"why\": \"lost\"}]"))
        .unwrap();
    let (comparison, _) = compare(&folders, results.path()).unwrap();
    let warnings = comparison.warnings.join("\n");
    for part in ["the commit differs: ", "0123456789ab, ", "the connections differs: ", "void: lost"] {
        assert!(warnings.contains(part), "{part} in {warnings}");
    }
}

/// Bug: a run whose histogram log was damaged, or gone, had no part in the curves, and nothing said so.
#[test]
fn a_log_that_cannot_be_read_is_told() {
    let results = tempfile::tempdir().unwrap();
    let folders = [1, 2, 3].map(|at| run(results.path(), at, 1000, 1000));
    std::fs::write(folders[1].join("latency.hlog"), "damaged").unwrap();
    std::fs::remove_file(folders[2].join("latency.hlog")).unwrap();
    let (comparison, _) = compare(&folders, results.path()).unwrap();
    let told = |folder: &Path| {
        let name = format!("{}: ", name_of(folder));
        comparison.warnings.iter().filter(|warning| warning.starts_with(&name) && warning.contains("curve")).count()
    };
    assert_eq!(folders.each_ref().map(|folder| told(folder)), [0, 1, 1], "{:?}", comparison.warnings);
}

#[test]
fn folders_that_are_no_results_are_refused() {
    let results = tempfile::tempdir().unwrap();
    let good = run(results.path(), 0, 1000, 1000);
    let (empty, nowhere) = (results.path().join("empty"), results.path().join("nowhere"));
    std::fs::create_dir(&empty).unwrap();
    let folder_with = |name: &str, json: &str| {
        let folder = results.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("result.json"), json).unwrap();
        folder
    };
    for (folder, part) in [
        (empty, "is no result: it holds no result.json"),
        (nowhere, "is no result: it holds no result.json"),
        (folder_with("text", "text"), "is not the result of a run"),
        (folder_with("pairs", "{\"parts\": []}"), "it tells no latency"),
        (folder_with("sweep", "{\"sweep\": true}"), "it is that of a sweep"),
    ] {
        for error in [
            compare(&[good.clone(), folder.clone()], results.path()).map(|_| ()).unwrap_err(),
            merge(&[good.clone(), folder.clone()], results.path()).map(|_| ()).unwrap_err(),
        ] {
            assert!(error.to_string().contains(part) && !error.to_string().contains('\n'), "{folder:?}: {error}");
        }
    }
}
