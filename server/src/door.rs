//! Listeners that are served on threads of their own: started, given connections within bounds, stopped.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long what is in progress has when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// After no connection could be accepted, for want of descriptors say, it is tried again after this long.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Binds an address, before anything is served.
pub(crate) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The threads of a door that is a gateway of some kind, if nobody says how many: all cores but one, which the first reactor has,
/// and two at least, as no request is to wait for all of a long one.
pub(crate) fn gateway_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().saturating_sub(1).max(2))
}

/// An open door. Dropping it ends it at once.
pub(crate) struct Door {
    runtime: Runtime,
    stop: watch::Sender<bool>,
    done: tokio::task::JoinHandle<()>,
}

impl Door {
    /// Has `serve` do its work for `listener` on so many threads of this name, until it is told to stop.
    pub(crate) fn open<F: Future<Output = ()> + Send + 'static>(
        listener: TcpListener,
        name: (&'static str, usize),
        serve: impl FnOnce(Listener) -> F,
    ) -> io::Result<Door> {
        Door::open_all(vec![listener], name, |mut listeners| serve(listeners.remove(0)))
    }

    /// The same for several listeners, by the same threads.
    pub(crate) fn open_all<F: Future<Output = ()> + Send + 'static>(
        listeners: Vec<TcpListener>,
        (name, threads): (&'static str, usize),
        serve: impl FnOnce(Vec<Listener>) -> F,
    ) -> io::Result<Door> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .enable_io()
            .enable_time()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let listen = |listener: TcpListener| {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            Ok(Listener { listener, name, stopped: stopped.clone() })
        };
        let listeners = {
            let _inside = runtime.enter();
            listeners.into_iter().map(listen).collect::<io::Result<Vec<_>>>()?
        };
        let done = runtime.spawn(serve(listeners));
        Ok(Door { runtime, stop, done })
    }

    /// Has something done on its threads, until it ends.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Takes nothing new, and waits a while for what is in progress. Whether all has ended.
    pub(crate) fn stop(self) -> bool {
        let _ = self.stop.send(true);
        let ended = self.runtime.block_on(async { tokio::time::timeout(STOP_TIMEOUT, self.done).await });
        self.runtime.shutdown_background();
        ended.is_ok()
    }
}

/// What connections come from.
pub(crate) struct Listener {
    listener: tokio::net::TcpListener,
    /// The door's.
    pub(crate) name: &'static str,
    /// Changes when the door is to close.
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Listener {
    /// Takes connections as long as `places` has room for them, each with its place, until the door is to close.
    pub(crate) async fn take_each(
        mut self,
        places: Arc<Semaphore>,
        mut take: impl FnMut(TcpStream, OwnedSemaphorePermit),
    ) {
        loop {
            let next = async {
                let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
                self.listener.accept().await.map(|(stream, _)| (stream, place))
            };
            let accepted = tokio::select! {
                accepted = next => accepted,
                _ = self.stopped.changed() => return,
            };
            match accepted {
                Ok((stream, place)) => {
                    // A client that hung up meanwhile is found out later.
                    let _ = ::io::look_after(&stream);
                    take(stream, place);
                }
                Err(error) => {
                    tracing::warn!(%error, door = self.name, "a connection could not be accepted; trying again soon");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}
