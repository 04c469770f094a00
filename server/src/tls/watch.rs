//! Looks whether the files of certificate and key have changed. They are read once they stay as they are: who renews them
//! writes two files.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Tls;
use super::files::States;
use crate::changes::Changes;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// Has a thread look, until nobody needs `tls` any more; `states` are of what it has.
pub(super) fn start(tls: &Arc<Tls>, states: States) -> io::Result<()> {
    let tls = Arc::downgrade(tls);
    std::thread::Builder::new().name("certificates".to_owned()).spawn(move || watch(&tls, states)).map(drop)
}

fn watch(tls: &Weak<Tls>, states: States) {
    let mut changes = Changes::since(Some(states));
    loop {
        std::thread::sleep(INTERVAL);
        let Some(tls) = tls.upgrade() else { return };
        if changes.look(tls.files.states()) {
            let certificate = tls.certificate().display();
            match tls.reload() {
                Ok(()) => {
                    changes.succeeded();
                    tracing::info!(%certificate, "new connections get the new certificate");
                }
                Err(error) if changes.failed(&error) => {
                    tracing::warn!(%error, "the old certificate stays: the new one is no good, which is tried again");
                }
                Err(_) => {}
            }
        }
    }
}
