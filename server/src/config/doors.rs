//! Where the doors are: each at an address of its own.

use std::net::SocketAddr;

use super::ConfigError;

/// The default port of metrics and health.
pub(super) const ADMIN_PORT: u16 = 4569;

/// Refuses a door at the address of another. The first reactor listens at `native`, each other one at the port after the one before.
pub(super) fn apart(
    native: SocketAddr,
    reactors: usize,
    others: [(&'static str, Option<SocketAddr>); 2],
) -> Result<(), ConfigError> {
    let others: Vec<_> = others.into_iter().filter_map(|(name, address)| Some((name, address?))).collect();
    for (at, &(name, address)) in others.iter().enumerate() {
        let same = |other: &(&'static str, SocketAddr)| meet(other.1, address, 0);
        if let Some((other, _)) = others[..at].iter().find(|other| same(other)) {
            return Err(ConfigError::SameAddress { name, address, other: format!("--{other}") });
        }
        if let Some(number) = (0..reactors).find(|&number| meet(native, address, number)) {
            let other =
                if number == 0 { "--native".to_owned() } else { format!("reactor {number}, by --native {native}") };
            return Err(ConfigError::SameAddress { name, address, other });
        }
    }
    Ok(())
}

/// Whether `one`, so many ports on, is `other`. Any free port is that of nobody; all of IPv6 takes in IPv4.
fn meet(one: SocketAddr, other: SocketAddr, ports_on: usize) -> bool {
    let takes_in = |all: SocketAddr, one: SocketAddr| all.ip().is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    let on_same_host = one.ip() == other.ip() || takes_in(one, other) || takes_in(other, one);
    let is_one = usize::from(one.port()) + ports_on == usize::from(other.port());
    one.port() != 0 && other.port() != 0 && on_same_host && is_one
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_door_is_at_the_address_of_another() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let outcome = |native, reactors, http, admin| {
            let others = [("http", http), ("admin", admin)];
            apart(at(native), reactors, others).map_err(|error| error.to_string())
        };
        let (http, admin) = (Some(at("127.0.0.1:4567")), Some(at("127.0.0.1:4571")));
        assert_eq!(outcome("127.0.0.1:4570", 1, http, admin), Ok(()));
        assert_eq!(outcome("127.0.0.2:4570", 2, http, admin), Ok(()));
        assert_eq!(outcome("127.0.0.1:0", 2, Some(at("127.0.0.1:0")), Some(at("127.0.0.1:0"))), Ok(()));
        assert_eq!(outcome("[::1]:4570", 2, Some(at("0.0.0.0:4571")), None), Ok(()));
        for native in ["127.0.0.1:4570", "0.0.0.0:4570", "[::]:4570"] {
            let error = outcome(native, 2, http, admin).unwrap_err();
            assert!(error.contains("--admin 127.0.0.1:4571") && error.contains("reactor 1"), "{error}");
        }
        let error = outcome("127.0.0.1:4570", 1, Some(at("127.0.0.1:4570")), None).unwrap_err();
        assert!(error.contains("--http") && error.contains("--native,"), "{error}");
        let error = outcome("127.0.0.1:4570", 1, http, http).unwrap_err();
        assert!(error.contains("--admin") && error.contains("--http"), "{error}");
    }
}
