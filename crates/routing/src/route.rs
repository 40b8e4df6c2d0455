//! Which providers may take a message, in order.

use message::PhoneNumber;

/// What a provider account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// Sends nothing.
    Simulator,
    /// Reaches phones.
    Carrier,
}

/// A provider account as routing sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEntry {
    pub name: String,
    pub kind: ProviderKind,
}

impl ProviderEntry {
    pub fn new(name: &str, kind: ProviderKind) -> Self {
        Self { name: name.to_owned(), kind }
    }
}

/// What is to be routed.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    pub is_sandbox: bool,
    pub to: &'a PhoneNumber,
}

/// No provider may take the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no provider reaches this recipient")]
pub struct NoRoute;

/// The providers that may take the message, in the order given.
///
/// A sandbox client reaches simulators only. Numbers that are set aside for fiction never leave on a carrier's
/// route, whoever asks. Where no carrier is set up, a simulator takes everything, or nothing could be tried.
pub fn choose<'a>(
    request: &RouteRequest<'_>,
    providers: &'a [ProviderEntry],
) -> Result<Vec<&'a ProviderEntry>, NoRoute> {
    let has_carrier = providers.iter().any(|provider| provider.kind == ProviderKind::Carrier);
    let may_take = |provider: &ProviderEntry| match provider.kind {
        ProviderKind::Simulator => request.is_sandbox || !has_carrier,
        ProviderKind::Carrier => !request.is_sandbox && !request.to.is_fictional(),
    };
    let chosen: Vec<_> = providers.iter().filter(|provider| may_take(provider)).collect();
    if chosen.is_empty() { Err(NoRoute) } else { Ok(chosen) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ProviderKind::{Carrier, Simulator};
    use proptest::prelude::*;

    fn names(is_sandbox: bool, to: &str, kinds: &[ProviderKind]) -> Result<Vec<ProviderKind>, NoRoute> {
        let providers: Vec<_> = kinds.iter().map(|kind| ProviderEntry::new("p", *kind)).collect();
        let to = PhoneNumber::from_trusted(to.to_owned()).unwrap();
        let chosen = choose(&RouteRequest { is_sandbox, to: &to }, &providers)?;
        Ok(chosen.iter().map(|provider| provider.kind).collect())
    }

    #[test]
    fn a_sandbox_client_never_reaches_a_carrier() {
        assert_eq!(names(true, "+4915112345678", &[Carrier, Simulator]), Ok(vec![Simulator]));
        assert_eq!(names(true, "+4915112345678", &[Carrier]), Err(NoRoute));
    }

    #[test]
    fn a_fictional_number_never_leaves_on_a_carrier() {
        assert_eq!(names(false, "+12025550100", &[Carrier, Simulator]), Err(NoRoute));
        assert_eq!(names(false, "+4915112345678", &[Carrier, Simulator]), Ok(vec![Carrier]));
    }

    #[test]
    fn without_a_carrier_the_simulator_takes_everything() {
        assert_eq!(names(false, "+4915112345678", &[Simulator]), Ok(vec![Simulator]));
        assert_eq!(names(false, "+4915112345678", &[]), Err(NoRoute));
    }

    proptest! {
        #[test]
        fn whoever_asks_the_choice_keeps_the_order_and_the_walls(
            carriers in proptest::collection::vec(any::<bool>(), 0..6),
            is_sandbox: bool,
            is_fictional: bool,
        ) {
            let kind = |is_carrier: bool| if is_carrier { Carrier } else { Simulator };
            let providers: Vec<_> =
                carriers.iter().enumerate().map(|(at, carrier)| ProviderEntry::new(&at.to_string(), kind(*carrier))).collect();
            let to = if is_fictional { "+12025550100" } else { "+4915112345678" };
            let to = PhoneNumber::from_trusted(to.to_owned()).unwrap();
            let Ok(chosen) = choose(&RouteRequest { is_sandbox, to: &to }, &providers) else {
                let has_wanted = providers.iter().any(|provider| (provider.kind == Simulator) == is_sandbox);
                prop_assert!(!has_wanted || (!is_sandbox && is_fictional), "a way was missed");
                return Ok(());
            };
            prop_assert!(chosen.windows(2).all(|pair| pair[0].name < pair[1].name));
            prop_assert!(!chosen.iter().any(|provider| provider.kind == Carrier && (is_sandbox || is_fictional)));
            // One kind only, and every account of it.
            let of_this_kind = providers.iter().filter(|provider| provider.kind == chosen[0].kind);
            prop_assert_eq!(of_this_kind.collect::<Vec<_>>(), chosen);
        }
    }
}
