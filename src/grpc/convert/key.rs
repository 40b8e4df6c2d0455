//! API keys and providers' keys.

use std::net::IpAddr;

use delivery::model::{ApiKey, ProviderKey, Scope};
use ipnet::IpNet;

use super::{read_enum, timestamp};
use crate::grpc::faults::Faults;
use crate::proto::v1;

/// Scopes that a request may name, repeated ones included.
const SCOPES_MAX: usize = 16;
/// Address ranges of a key.
const RANGES_MAX: usize = 20;
/// Longest id of any key.
const ID_MAX: usize = 64;

pub fn api_key(key: &ApiKey) -> v1::ApiKey {
    v1::ApiKey {
        id: key.id.clone(),
        client_id: key.client.map(|client| client.to_string()).unwrap_or_default(),
        name: key.name.clone(),
        scopes: key.scopes.iter().map(|scope| scope_told(*scope).into()).collect(),
        create_time: Some(timestamp(key.created_at)),
        expire_time: key.expire_at.map(timestamp),
        revoke_time: key.revoked_at.map(timestamp),
        last_used_time: key.last_used_at.map(timestamp),
        allowed_ranges: key.allowed_ranges.clone(),
    }
}

pub fn provider_key(key: &ProviderKey) -> v1::ProviderKey {
    v1::ProviderKey {
        id: key.id.clone(),
        provider: key.provider.clone(),
        name: key.name.clone(),
        create_time: Some(timestamp(key.created_at)),
        revoke_time: key.revoked_at.map(timestamp),
    }
}

fn scope_told(scope: Scope) -> v1::Scope {
    match scope {
        Scope::Send => v1::Scope::Send,
        Scope::Read => v1::Scope::Read,
        Scope::Billing => v1::Scope::Billing,
        Scope::Admin => v1::Scope::Admin,
    }
}

/// The scopes of a new key, sorted, each once. Client keys have any but ADMIN, operator keys have ADMIN.
pub fn read_scopes(faults: &mut Faults, is_operator: bool, numbers: &[i32]) -> Vec<Scope> {
    let field = "scopes";
    if numbers.is_empty() || numbers.len() > SCOPES_MAX {
        faults.add(field, "must name 1 to 16 scopes");
        return Vec::new();
    }
    let mut scopes = Vec::new();
    for number in numbers {
        match read_enum(faults, field, *number) {
            None => {}
            Some(v1::Scope::Unspecified) => faults.add(field, "must not hold SCOPE_UNSPECIFIED"),
            Some(v1::Scope::Send) => scopes.push(Scope::Send),
            Some(v1::Scope::Read) => scopes.push(Scope::Read),
            Some(v1::Scope::Billing) => scopes.push(Scope::Billing),
            Some(v1::Scope::Admin) => scopes.push(Scope::Admin),
        }
    }
    match (is_operator, scopes.contains(&Scope::Admin)) {
        (true, false) => faults.add(field, "an operator key (without a client) needs ADMIN"),
        (false, true) => faults.add(field, "ADMIN is for operator keys (without a client) only"),
        _ => {}
    }
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

/// Address ranges in CIDR form, each once.
pub fn read_ranges(faults: &mut Faults, told: &[String]) -> Vec<String> {
    let field = "allowed_ranges";
    faults.check(field, told.len() <= RANGES_MAX, "must have at most 20 entries");
    let mut ranges: Vec<String> = Vec::new();
    for text in told.iter().take(RANGES_MAX) {
        match read_range(text) {
            Ok(range) if !ranges.contains(&range) => ranges.push(range),
            Ok(_) => {}
            Err(problem) => faults.add(field, problem),
        }
    }
    ranges
}

fn read_range(text: &str) -> Result<String, &'static str> {
    let range: IpNet = text.parse().map_err(|_| "must hold ranges as in 192.0.2.0/24 or 2001:db8::/32")?;
    if range.trunc() != range {
        return Err("must hold ranges that begin with their first address");
    }
    // Callers are known by their IPv4 addresses, however they come.
    let is_mapped = matches!(range.network(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    if is_mapped { Err("must hold IPv4 ranges as such") } else { Ok(range.to_string()) }
}

/// A key's id, of whatever kind: one that cannot be one is malformed, not absent.
pub fn check_key_id(faults: &mut Faults, field: &'static str, id: &str) {
    let is_fine = (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    faults.check(field, is_fine, "is not a key's id");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_is_for_operator_keys_and_they_need_it() {
        let read = |is_operator, numbers: &[i32]| {
            let mut faults = Faults::default();
            let scopes = read_scopes(&mut faults, is_operator, numbers);
            faults.fields().is_empty().then_some(scopes)
        };
        assert_eq!(read(false, &[2, 1, 2]), Some(vec![Scope::Send, Scope::Read]));
        assert_eq!(read(true, &[4]), Some(vec![Scope::Admin]));
        for (is_operator, numbers) in
            [(false, &[4][..]), (true, &[1][..]), (false, &[][..]), (false, &[0][..]), (false, &[7][..])]
        {
            assert_eq!(read(is_operator, numbers), None, "{numbers:?}");
        }
    }

    #[test]
    fn ranges_are_whole_networks_of_either_family_each_once() {
        let read = |texts: &[&str]| {
            let mut faults = Faults::default();
            let told: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let ranges = read_ranges(&mut faults, &told);
            faults.fields().is_empty().then_some(ranges)
        };
        assert_eq!(read(&[]), Some(vec![]));
        assert_eq!(
            read(&["192.0.2.0/24", "2001:DB8::/32", "192.0.2.0/24", "0.0.0.0/0"]),
            Some(vec!["192.0.2.0/24".into(), "2001:db8::/32".into(), "0.0.0.0/0".into()])
        );
        for refused in
            ["", "192.0.2.1", "192.0.2.1/24", "192.0.2.0/33", "::ffff:192.0.2.0/120", "any", "192.0.2.0/24 "]
        {
            assert_eq!(read(&[refused]), None, "{refused}");
        }
        assert!(read(&["192.0.2.0/24"; 20]).is_some());
        assert_eq!(read(&["192.0.2.0/24"; 21]), None);
    }

    #[test]
    fn ids_are_letters_and_digits() {
        for (id, is_fine) in
            [("test0123456789abcdef", true), ("x", true), ("", false), ("a b", false), ("a\0", false)]
        {
            let mut faults = Faults::default();
            check_key_id(&mut faults, "key_id", id);
            assert_eq!(faults.fields().is_empty(), is_fine, "{id:?}");
        }
    }
}
