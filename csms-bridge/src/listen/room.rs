//! How many connections there may be, in all and from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Room {
    max: usize,
    max_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("max_connections are open")]
    All,
    #[error("max_connections_per_address are open from this address")]
    Address,
}

/// A place of one connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    address: IpAddr,
}

impl Room {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_address,
            taken: Mutex::default(),
        })
    }

    /// Takes a place for a connection from `address`.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = source(address);
        let mut taken = self.taken();
        if taken.all >= self.max {
            return Err(Full::All);
        }
        let here = taken.by_address.entry(address).or_default();
        if *here >= self.max_per_address {
            return Err(Full::Address);
        }
        *here += 1;
        taken.all += 1;
        Ok(Place {
            room: Arc::clone(self),
            address,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one address: an IPv4 address, however it is written, or the /64 that an IPv6 host has for itself.
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_places_and_all_have_theirs() {
        let room = Room::new(3, 2);
        let first = room.enter(address("192.0.2.1")).unwrap();
        let _second = room.enter(address("::ffff:192.0.2.1")).unwrap();
        assert_eq!(room.enter(address("192.0.2.1")).unwrap_err(), Full::Address);
        let _third = room.enter(address("192.0.2.2")).unwrap();
        assert_eq!(room.enter(address("192.0.2.3")).unwrap_err(), Full::All);
        drop(first);
        room.enter(address("192.0.2.1")).unwrap();
    }

    #[test]
    fn a_64_of_ipv6_is_one_address() {
        let room = Room::new(9, 1);
        let _first = room.enter(address("2001:db8::1")).unwrap();
        assert_eq!(room.enter(address("2001:db8::2:1")).unwrap_err(), Full::Address);
        room.enter(address("2001:db8:0:1::1")).unwrap();
    }

    #[test]
    fn nothing_is_kept_of_addresses_without_a_connection() {
        let room = Room::new(9, 1);
        drop(room.enter(address("192.0.2.1")).unwrap());
        let place = room.enter(address("192.0.2.2")).unwrap();
        let _ = room.enter(address("192.0.2.2")).unwrap_err();
        drop(place);
        assert!(room.taken().by_address.is_empty());
        assert_eq!(room.taken().all, 0);
    }
}
