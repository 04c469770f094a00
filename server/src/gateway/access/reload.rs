//! Takes the keys of a file that has changed, once it stays as it is: whoever writes it may not have done. One that is of no use
//! leaves those that there are.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::changes::{Changes, stamp};
use crate::credentials::Credentials;
use crate::gateway::Common;

/// The file is looked at so often.
const EVERY: Duration = Duration::from_millis(500);

/// Looks after the file, if there is one, until the server ends.
pub(crate) async fn reload(common: Arc<Common>) {
    let Some((file, keys)) = &common.access.keys else { return };
    // It may have changed since it was read, so it is read again once.
    let mut changes = Changes::since(None);
    let mut is_first = true;
    loop {
        let path = file.path.clone();
        // It ends without an answer only where the server does.
        let Ok(now) = tokio::task::spawn_blocking(move || stamp(&path)).await else { return };
        if changes.look(now) {
            // What changes while it is read is seen the next time.
            let (path, own) = (file.path.clone(), common.access.own.clone());
            let read = tokio::task::spawn_blocking(move || Credentials::read(&path, &own)).await;
            let Ok(read) = read else { return };
            match read {
                Ok(read) => {
                    changes.succeeded();
                    if !is_first {
                        tracing::info!(file = %file.path.display(), keys = read.count(), "the credentials file has changed: its keys hold");
                    }
                    *keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                }
                Err(error) if changes.failed(&error) => {
                    tracing::warn!(%error, "the keys stay as they were; it is tried again");
                }
                Err(_) => {}
            }
            is_first = false;
        }
        tokio::time::sleep(EVERY).await;
    }
}
