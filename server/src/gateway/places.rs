//! What the log calls the streams of each account and region.
//!
//! Those of the server's own place have their plain names, as native clients give them. Those of others stand under
//! `+account/region/name`, which nobody can call a stream over the API, so the same name may be there in each place. A `+` comes
//! before all that a plain name may begin with, so the streams of each place stand together in the order of names.

use wire::name::{Place, is_account, is_region};

/// Comes after all names of other places and before all plain ones: the letter after `+`.
const OTHERS_END: &str = ",";

/// The log's name of a stream. Not every name comes from a request that was checked, some from iterators and ARNs, which anybody
/// may make: none reaches a stream of another place.
pub(super) fn stored(own: &Place, place: &Place, name: &str) -> String {
    let is_plain = place == own && !name.starts_with('+');
    if is_plain { name.to_owned() } else { prefix(place) + name }
}

/// Whose a stream is, and what they call it; nobody's, if a native client gave it a name that is none of these.
pub(super) fn told<'a>(own: &Place, stored: &'a str) -> Option<(Place, &'a str)> {
    let Some(rest) = stored.strip_prefix('+') else { return Some((own.clone(), stored)) };
    let (account, rest) = rest.split_once('/')?;
    let (region, name) = rest.split_once('/')?;
    let place = Place { account: account.to_owned(), region: region.to_owned() };
    let is_theirs = is_account(account) && is_region(region) && !name.contains('/') && place != *own;
    is_theirs.then_some((place, name))
}

/// Where those of a place after a name begin in the order of the log's names.
pub(super) fn after(own: &Place, place: &Place, name: &str) -> String {
    let after = stored(own, place, name);
    if place == own { after.max(OTHERS_END.to_owned()) } else { after }
}

/// Whether one of the log's names stands among those of a place.
pub(super) fn is_among(own: &Place, place: &Place, stored: &str) -> bool {
    if place == own { !stored.starts_with('+') } else { stored.starts_with(&prefix(place)) }
}

fn prefix(place: &Place) -> String {
    format!("+{}/{}/", place.account, place.region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_places_are_kept_apart_and_together() {
        let own = Place::default();
        let there = Place { region: "eu-west-1".to_owned(), ..own.clone() };
        let theirs = Place { account: "111122223333".to_owned(), ..own.clone() };
        let mut all = Vec::new();
        for place in [&own, &there, &theirs] {
            for name in ["-", ".a", "0", "Orders", "_", "orders", "z"] {
                let stored = stored(&own, place, name);
                assert_eq!(told(&own, &stored), Some((place.clone(), name)), "{stored}");
                assert!(stored > after(&own, place, "") && stored == after(&own, place, name), "{stored}");
                all.push((stored, place));
            }
        }
        all.sort();
        let places: Vec<_> = all.chunk_by(|one, next| one.1 == next.1).map(|chunk| chunk[0].1).collect();
        assert_eq!(places, [&there, &theirs, &own]);
        let longest = "x".repeat(frame::limits::STREAM_NAME_PART_BYTES_MAX);
        let far = Place { region: "r".repeat(32), ..own.clone() };
        assert!(stored(&own, &far, &longest).len() <= frame::limits::STREAM_NAME_BYTES_MAX);
        let stolen = stored(&own, &own, &stored(&own, &theirs, "orders"));
        assert!(stolen.starts_with(&prefix(&own)), "{stolen}");
        // What native clients may have made.
        for odd in ["+a", "+a/b/c", "+111122223333/eu-west-1/a/b", "+000000000000/us-east-1/mine", "+111122223333/EU/a"]
        {
            assert_eq!(told(&own, odd), None, "{odd}");
        }
    }
}
