//! One input of one target, and nothing else: `MILLSTREAM_FUZZ_TARGET=wire` with `MILLSTREAM_FUZZ_SEED=n` or
//! `MILLSTREAM_FUZZ_INPUT=file.hex`. Without them it takes seed 0 of every target.

use std::path::Path;

use fuzz::{CANARY, Session, TARGETS, from_hex};

#[test]
fn one_seed() {
    let name = std::env::var("MILLSTREAM_FUZZ_TARGET").ok();
    let chosen = |target: &&fuzz::Target| name.as_ref().is_none_or(|name| name == target.name);
    let all = [&TARGETS[..], &[CANARY]].concat();
    let targets: Vec<_> =
        all.iter().filter(chosen).filter(|target| name.is_some() || target.name != CANARY.name).collect();
    assert!(
        !targets.is_empty(),
        "MILLSTREAM_FUZZ_TARGET is one of {:?}",
        all.iter().map(|target| target.name).collect::<Vec<_>>()
    );
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in targets {
        let session = Session::open(*target, &corpus, Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("the corpus");
        let outcome = match std::env::var("MILLSTREAM_FUZZ_INPUT") {
            Ok(file) => {
                let hex = std::fs::read_to_string(&file).expect("MILLSTREAM_FUZZ_INPUT is a file");
                let input = from_hex(&hex).expect("MILLSTREAM_FUZZ_INPUT holds hex digits");
                session.run(&input, "input", || file)
            }
            Err(_) => {
                let seed = std::env::var("MILLSTREAM_FUZZ_SEED").ok();
                session.seed(seed.map_or(0, |seed| seed.parse().expect("MILLSTREAM_FUZZ_SEED is a number")))
            }
        };
        outcome.unwrap_or_else(|found| panic!("{found}"));
    }
}
