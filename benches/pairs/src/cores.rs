//! Which cores the two sides of a measurement run on.
//!
//! What a disk has written is worked on where its interrupts land. Where that is one core it is the server's: on the
//! generator's, writes would wait for the load, which elsewhere is on another machine. Over HTTP it is the server that lacks
//! processor, and the generator's core has time for them.

/// The server's and limit's server thread's, and the generator's and limit's client thread's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    pub(crate) server: usize,
    pub(crate) load: usize,
}

impl Cores {
    /// Those that are named, and otherwise the best of `available` for a disk whose interrupts land there.
    pub(crate) fn choose(named: (Option<usize>, Option<usize>), available: &[usize], disk: Option<usize>) -> Self {
        let other = |than: usize| available.iter().copied().find(|&core| core != than).unwrap_or(than);
        let first = available.first().copied().unwrap_or(0);
        let best = disk.filter(|core| available.contains(core)).unwrap_or(first);
        let server = named.0.unwrap_or_else(|| named.1.map_or(best, other));
        let load = named.1.unwrap_or_else(|| other(server));
        Self { server, load }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_on_the_disk_s_core_unless_another_is_named() {
        let choose = |named, disk| {
            let Cores { server, load } = Cores::choose(named, &[0, 1, 2], disk);
            (server, load)
        };
        assert_eq!(choose((None, None), Some(1)), (1, 0));
        assert_eq!(choose((None, None), None), (0, 1));
        assert_eq!(choose((None, None), Some(7)), (0, 1), "this process may not run there");
        assert_eq!(choose((None, Some(0)), Some(0)), (1, 0));
        assert_eq!(choose((Some(2), None), Some(0)), (2, 0));
        assert_eq!(choose((Some(2), Some(2)), Some(0)), (2, 2));
        assert_eq!(Cores::choose((None, None), &[3], None), Cores { server: 3, load: 3 });
    }
}
