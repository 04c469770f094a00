//! The three programs that are measured: beside this one, or built from the source tree in the same profile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::PairsError;

/// The programs' files.
#[derive(Debug)]
pub(crate) struct Programs {
    /// The server.
    pub(crate) millstream: PathBuf,
    /// The load generator.
    pub(crate) load: PathBuf,
    /// The limit.
    pub(crate) limit: PathBuf,
}

impl Programs {
    /// Finds them. Under cargo they are built first, so that what is measured is what the source says.
    pub(crate) fn find() -> Result<Self, PairsError> {
        let own =
            std::env::current_exe().map_err(|error| PairsError::Program { name: "pairs", why: error.to_string() })?;
        let beside = own.parent().unwrap_or(Path::new("."));
        let programs = Self {
            millstream: beside.join("millstream"),
            load: beside.join("millstream-load"),
            limit: beside.join("limit"),
        };
        let there = programs.all().iter().all(|(_, path)| path.exists());
        let source = source_tree();
        // Whoever has just built all says so: alone they would be built anew, with other features of their libraries.
        let from_cargo = std::env::var_os("CARGO").is_some() && std::env::var_os("MILLSTREAM_BUILT").is_none();
        match &source {
            Some(root) if !there || from_cargo => build(root, beside)?,
            _ => {}
        }
        for (name, path) in programs.all() {
            if !path.exists() {
                return Err(PairsError::Program { name, why: format!("{} is not there", path.display()) });
            }
        }
        Ok(programs)
    }

    fn all(&self) -> [(&'static str, &Path); 3] {
        [("millstream", &self.millstream), ("millstream-load", &self.load), ("limit", &self.limit)]
    }
}

/// The root of the source tree that this program was built from, if it is still there.
pub(crate) fn source_tree() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2)?;
    root.join("server/Cargo.toml").exists().then(|| root.to_owned())
}

fn build(root: &Path, beside: &Path) -> Result<(), PairsError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "server", "-p", "loadgen", "-p", "limit"]);
    if beside.ends_with("release") {
        command.arg("--release");
    }
    let status = command.current_dir(root).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(PairsError::Program { name: "programs to measure", why: "their build failed".to_owned() }),
        Err(source) => Err(PairsError::Start { name: "cargo build".to_owned(), source }),
    }
}
