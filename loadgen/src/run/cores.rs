//! The cores of the generator, and of a server that it starts.
//!
//! What a disk has written is worked on where its interrupts land. Where that is one core it is the server's: on the generator's,
//! writes would wait for the load.

/// The generator's and the server's: those that are named, and otherwise the best of `available` for a disk whose interrupts
/// land on one. None if there is none.
pub(super) fn choose(
    named: (&[usize], Option<usize>),
    available: &[usize],
    disk: Option<usize>,
) -> Option<(Vec<usize>, usize)> {
    let mut generator = named.0.to_vec();
    let is_free = |core: &usize| available.contains(core) && !generator.contains(core);
    let server = named.1.or(disk.filter(is_free)).or_else(|| available.iter().copied().find(is_free));
    if generator.is_empty() {
        let other = available.iter().rfind(|&&core| Some(core) != server);
        generator.push(*other.or(available.last())?);
    }
    let server = server.unwrap_or(generator[0]);
    Some((generator, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_on_the_disk_s_core_and_the_generator_on_the_last_of_the_others() {
        let chosen = |cores: &[usize], server, disk| {
            let (generator, server) = choose((cores, server), &[0, 1, 2], disk).unwrap();
            (server, generator)
        };
        assert_eq!(chosen(&[], None, None), (0, vec![2]));
        assert_eq!(chosen(&[], None, Some(1)), (1, vec![2]));
        assert_eq!(chosen(&[], None, Some(2)), (2, vec![1]));
        assert_eq!(chosen(&[], None, Some(7)), (0, vec![2]), "this process may not run there");
        assert_eq!(chosen(&[], Some(2), Some(0)), (2, vec![1]));
        assert_eq!(chosen(&[0], None, Some(0)), (1, vec![0]));
        assert_eq!(chosen(&[0], None, Some(2)), (2, vec![0]));
        assert_eq!(chosen(&[2, 1, 0], None, Some(0)), (2, vec![2, 1, 0]), "none is free");
        assert_eq!(chosen(&[1], Some(1), Some(0)), (1, vec![1]));
        assert_eq!(choose((&[], None), &[3], Some(3)), Some((vec![3], 3)));
        assert_eq!(choose((&[], None), &[], None), None);
    }
}
