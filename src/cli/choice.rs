//! The words of the API's enums, as options take them.

use herald_sdk::v1;

/// Makes an option's values of an enum of the API. They are written as the API writes them, without the prefix.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident of $api:ty { $($(#[$about:meta])* $value:ident,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
        #[value(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$about])* $value,)+
        }

        impl From<$name> for $api {
            fn from(choice: $name) -> Self {
                match choice {
                    $($name::$value => Self::$value,)+
                }
            }
        }

        impl From<$name> for i32 {
            fn from(choice: $name) -> Self {
                <$api>::from(choice).into()
            }
        }
    )+};
}

choices! {
    Encoding of v1::Encoding { Gsm7, Ucs2, }
    OnUnknown of v1::OnUnknown {
        /// Never sent again: a report or the settlement decides.
        Wait,
        /// Sent again after a time; the recipient may get it twice.
        Resend,
    }
    Priority of v1::Priority { Low, Normal, High, }
    Class of v1::MessageClass { Transactional, Otp, Marketing, }
    NationalTable of v1::NationalTable { Turkish, Spanish, Portuguese, }
    Status of v1::message::Status {
        Scheduled,
        Queued,
        Sending,
        FailedTemp,
        Unknown,
        Sent,
        Delivered,
        FailedPerm,
        Expired,
        Canceled,
    }
    Reason of v1::failure::Reason {
        ProviderRejected,
        RecipientInvalid,
        RecipientUnreachable,
        RecipientBlocked,
        SenderRejected,
        ContentRejected,
        ProviderUnavailable,
        ProviderThrottled,
        RetriesExhausted,
        ValidityExpired,
        ReportTimeout,
        OutcomeUnknown,
    }
    TransactionType of v1::transaction::Type { TopUp, Hold, Capture, Release, Adjustment, }
    State of v1::client::State { Active, Suspended, }
    CaptureOn of v1::client::CaptureOn {
        /// When a message is delivered.
        Delivered,
        /// When a provider takes a message.
        Sent,
    }
    SettleUnreported of v1::client::SettleUnreported {
        /// It is paid: the carrier took it.
        Capture,
        /// It is given back.
        Release,
    }
    Scope of v1::Scope { Send, Read, Billing, Admin, }
}

/// The choice as the API takes it; none is 0.
pub fn or_unspecified<T: Into<i32>>(choice: Option<T>) -> i32 {
    choice.map_or(0, Into::into)
}

/// Choices as the API takes them.
pub fn all<T: Into<i32>>(choices: Vec<T>) -> Vec<i32> {
    choices.into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn a_choice_is_written_as_the_api_writes_it() {
        for choice in Status::value_variants() {
            let name = choice.to_possible_value().map(|value| value.get_name().to_uppercase());
            let api = v1::message::Status::from(*choice).as_str_name();
            assert_eq!(name.as_deref(), api.strip_prefix("STATUS_"));
        }
        for choice in Reason::value_variants() {
            let name = choice.to_possible_value().map(|value| value.get_name().to_uppercase());
            let api = v1::failure::Reason::from(*choice).as_str_name();
            assert_eq!(name.as_deref(), api.strip_prefix("REASON_"));
        }
        assert_eq!(or_unspecified(Some(Encoding::Ucs2)), i32::from(v1::Encoding::Ucs2));
        assert_eq!(or_unspecified(None::<Encoding>), 0);
    }
}
