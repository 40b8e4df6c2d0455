//! How urgent a message is and what it is for.

use crate::words;

words! {
    /// Which message goes first where a provider takes fewer than wait. Between priorities, not within one: there the
    /// time at which a message is due decides.
    #[derive(Default)]
    pub enum Priority {
        /// After the others: what nobody waits for.
        Low = "LOW",
        /// Ordinary messages.
        #[default]
        Normal = "NORMAL",
        /// Before the others: one-time codes, alarms.
        High = "HIGH",
    }
}

words! {
    /// What a message is for. Rules about consent and hours go by it.
    #[derive(Default)]
    pub enum MessageClass {
        /// About something that the recipient did or asked for.
        #[default]
        Transactional = "TRANSACTIONAL",
        /// A one-time code.
        Otp = "OTP",
        /// Advertising.
        Marketing = "MARKETING",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_ordinary_unless_it_says_otherwise() {
        assert_eq!(Priority::default(), Priority::Normal);
        assert_eq!(MessageClass::default(), MessageClass::Transactional);
        assert!(Priority::Low < Priority::Normal && Priority::Normal < Priority::High);
    }
}
