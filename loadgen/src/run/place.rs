//! Names and directories: where things are made and kept, and what they are called.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The command line, the program by its name alone.
pub(crate) fn command_line() -> String {
    let quote = |argument: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,%+@".contains(c);
        if argument.chars().all(plain) && !argument.is_empty() {
            argument
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    let arguments = std::env::args().skip(1).map(quote);
    std::iter::once("millstream-load".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// A name that no other run has.
pub(super) fn run_name() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("load-{}-{}", since.as_millis(), std::process::id())
}

/// The build's target directory where this program lies in one, else the system's for temporary files.
pub(super) fn target_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let within = own.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    within.map_or_else(std::env::temp_dir, Path::to_owned)
}

/// Where results are kept: as told, else in the source tree, else here; those that nobody keeps in a folder of their own.
pub fn results_directory(told: Option<&Path>, keep: bool) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|root| root.join("Cargo.toml").exists());
    let root = match (told, source) {
        (Some(told), _) => told.to_owned(),
        (None, Some(source)) => source.join("results"),
        (None, None) => PathBuf::from("results"),
    };
    if keep { root } else { root.join("local") }
}

/// A path below the current directory, as people would type it.
pub fn shorten(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).map_or_else(|_| path.to_owned(), Path::to_owned)
}

/// The nearest directory above that exists: that is where the room is.
pub(super) fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|path| path.exists()).map(Path::to_owned);
    found.unwrap_or(absolute)
}
