//! Writes the starting points of every target into the corpus. What was found since stays.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in fuzz::TARGETS.into_iter().chain([fuzz::CANARY]) {
        let folder = corpus.join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (name, input) in (target.starts)() {
            std::fs::write(folder.join(name), input)?;
        }
    }
    Ok(())
}
