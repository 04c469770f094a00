//! Instructions that a record costs the engine, with one reactor and with several: counted by callgrind, in simulation.
//!
//! ```text
//!   cargo run --release -p sim --example instructions
//! ```
//!
//! Runs itself under valgrind, once for each number of reactors, way and length. Only what lies between the start and the end
//! of a reactor's turn is counted, without the simulated world's part of it; of two lengths of a run the difference is taken,
//! so that start and warm-up drop out. Each reactor has as much to do as any other, whatever their number. `--keep DIR` keeps
//! callgrind's files, for `callgrind_annotate`. It fails where several reactors cost more than the goal allows.

mod load;

use std::process::{Command, ExitCode};

use load::{Load, Way};

/// Records of each reactor in the two runs of a pair.
const RECORDS: [u64; 2] = [10_000, 30_000];

/// Of each record.
const DATA_BYTES: usize = 100;

/// Records of each append: about what the first command of the README sends, and fewer, so that it shows what a turn costs by
/// itself.
const BATCHES: [usize; 2] = [250, 100];

/// Reactors, and where their clients' records go.
const MEASURED: [(usize, Way); 5] = [(1, Way::Own), (2, Way::Own), (4, Way::Own), (2, Way::Handed), (4, Way::Handed)];

/// What a record that comes to its owner may cost with several reactors, by what it costs with one; in batches of the first size.
const GOAL: f64 = 1.02;

/// What is counted begins and ends with the first of these; the others are the world's.
const TOGGLES: [&str; 5] = ["*engine_turn*", "*world_turn*", "*world_submit*", "*world_received*", "*world_recycle*"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => measure(None),
        ["--keep", folder] => measure(Some(folder)),
        ["load", reactors, way, records, batch] => load_once(reactors, way, records, batch),
        _ => Err("usage: instructions [--keep DIR]".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("instructions: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What valgrind runs.
fn load_once(reactors: &str, way: &str, records: &str, batch: &str) -> Result<(), String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number"));
    let way = Way::of_name(way).ok_or_else(|| format!("`{way}` is neither own nor handed"))?;
    let (reactors, batch_records) = (number(reactors)? as usize, number(batch)? as usize);
    let load = Load { reactors, way, records: number(records)?, batch_records, data_bytes: DATA_BYTES };
    load.run();
    Ok(())
}

fn measure(keep: Option<&str>) -> Result<(), String> {
    println!("records of {DATA_BYTES} bytes, {} and {} of each reactor", RECORDS[0], RECORDS[1]);
    println!("{:>8} {:>8} {:>8} {:>20} {:>8}", "batch", "reactors", "records", "instructions each", "by one");
    let mut is_missed = false;
    for batch_records in BATCHES {
        let mut alone = None;
        for (reactors, way) in MEASURED {
            let load = |records| Load { reactors, way, records, batch_records, data_bytes: DATA_BYTES };
            let [short, long] = RECORDS.map(|records| instructions(&load(records), keep));
            let records = (RECORDS[1] - RECORDS[0]) * reactors as u64;
            let each = (long? - short?) as f64 / records as f64;
            let by_one = each / *alone.get_or_insert(each);
            println!("{batch_records:>8} {reactors:>8} {:>8} {each:>20.1} {by_one:>8.4}", way.name());
            is_missed |= batch_records == BATCHES[0] && way == Way::Own && by_one > GOAL;
        }
    }
    if is_missed { Err(format!("the goal, {GOAL} in batches of {}, is missed", BATCHES[0])) } else { Ok(()) }
}

/// Instructions of one run, by callgrind.
fn instructions(load: &Load, keep: Option<&str>) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("where this program lies: {error}"))?;
    let Load { reactors, way, records, batch_records, .. } = load;
    let what = [reactors.to_string(), way.name().to_owned(), records.to_string(), batch_records.to_string()];
    let file = keep.map_or("/dev/null".to_owned(), |folder| format!("{folder}/callgrind-{}.out", what.join("-")));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind".to_owned(), format!("--callgrind-out-file={file}")]);
    command.args(TOGGLES.map(|toggle| format!("--toggle-collect={toggle}")));
    let output = command
        .arg(program)
        .arg("load")
        .args(what)
        .output()
        .map_err(|error| format!("valgrind does not start, install it (apt-get install valgrind): {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match collected.filter(|&count| output.status.success() && count > 0) {
        Some(count) => Ok(count),
        None => Err(format!("valgrind ended with {}, and counted nothing:\n{said}", output.status)),
    }
}
