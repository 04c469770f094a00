//! `millstream-load`: reads the settings and runs the load.

use std::process::ExitCode;

use loadgen::options::{Options, OptionsError, Tool};
use loadgen::output::print;
use loadgen::report::json;
use loadgen::results::{ResultsError, compare, merge};
use loadgen::run::{Status, results_directory, run, shorten};

fn main() -> ExitCode {
    let options = match Options::read(std::env::args_os()) {
        Ok(options) => options,
        Err(OptionsError::Arguments(error)) => {
            let _ = error.print();
            return if error.use_stderr() { Status::NotRun.into() } else { ExitCode::SUCCESS };
        }
        Err(error) => {
            eprintln!("millstream-load: {error}");
            return Status::NotRun.into();
        }
    };
    let ended = match &options.tool {
        Some(tool) => use_results(tool).map_err(|error| error.to_string()),
        None => run(&options).map_err(|error| error.to_string()),
    };
    ended
        .unwrap_or_else(|error| {
            eprintln!("millstream-load: {error}");
            Status::NotRun
        })
        .into()
}

/// Compares or merges results, and prints what came of it.
fn use_results(tool: &Tool) -> Result<Status, ResultsError> {
    let (text, folder, status) = match tool {
        Tool::Compare { folders, results, json: as_json } => {
            let (comparison, folder) = compare(folders, &results_directory(results.as_deref(), false))?;
            let text = if *as_json { json(&comparison) } else { comparison.table() };
            (text, (!as_json).then_some(folder), Status::Good)
        }
        Tool::Merge { folders, results, json: as_json } => {
            let (report, folder) = merge(folders, &results_directory(results.as_deref(), false))?;
            (if *as_json { json(&report) } else { report.table() }, (!as_json).then_some(folder), report.status())
        }
    };
    print(text);
    if let Some(folder) = folder {
        print(format_args!("result      {}", shorten(&folder.path).display()));
    }
    Ok(status)
}
