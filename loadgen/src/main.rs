//! `millstream-load`: reads the settings and runs the load.

use std::process::ExitCode;

use loadgen::options::{Options, OptionsError};
use loadgen::run::{Status, run};

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
    match run(&options) {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("millstream-load: {error}");
            Status::NotRun.into()
        }
    }
}
