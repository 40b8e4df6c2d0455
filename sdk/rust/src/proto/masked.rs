//! Debug of the messages that carry a text, a phone number or a secret: it shows none of them, so that a value that
//! ends in a log gives nothing away.

use std::fmt::{Debug, Formatter, Result};

use super::v1;

/// A phone number by its first digits.
struct Number<'a>(&'a str);

impl Debug for Number<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let shown: String = self.0.chars().take(4).collect();
        write!(f, "{shown}***")
    }
}

/// Content by its length.
struct Octets(usize);

impl Debug for Octets {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "<{} octets>", self.0)
    }
}

impl Debug for v1::SendMessageRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("SendMessageRequest")
            .field("to", &Number(&self.to))
            .field("text", &Octets(self.text.len()))
            .field("data", &Octets(self.data.len()))
            .field("sender", &self.sender)
            .field("idempotency_key", &self.idempotency_key)
            .field("reference", &self.reference)
            .field("encoding", &self.encoding())
            .field("transliterate", &self.transliterate)
            .field("national_table", &self.national_table())
            .field("max_parts", &self.max_parts)
            .field("max_price_micros", &self.max_price_micros)
            .field("schedule_time", &self.schedule_time)
            .field("validity_period", &self.validity_period)
            .field("priority", &self.priority())
            .field("flash", &self.flash)
            .field("message_class", &self.message_class())
            .field("on_unknown", &self.on_unknown())
            .finish_non_exhaustive()
    }
}

impl Debug for v1::Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("to", &Number(&self.to))
            .field("sender", &self.sender)
            .field("text", &Octets(self.text.len()))
            .field("data", &Octets(self.data.len()))
            .field("status", &self.status())
            .field("failure", &self.failure)
            .field("encoding", &self.encoding())
            .field("part_count", &self.part_count)
            .field("price_micros", &self.price_micros)
            .field("currency", &self.currency)
            .field("credit", &self.credit())
            .field("reference", &self.reference)
            .field("attempt_count", &self.attempt_count)
            .field("provider", &self.provider)
            .field("provider_message_id", &self.provider_message_id)
            .field("create_time", &self.create_time)
            .field("status_time", &self.status_time)
            .field("schedule_time", &self.schedule_time)
            .field("expire_time", &self.expire_time)
            .field("replay_of", &self.replay_of)
            .field("parts", &self.parts)
            .field("history", &self.history)
            .field("is_transliterated", &self.is_transliterated)
            .field("national_table", &self.national_table())
            .field("priority", &self.priority())
            .field("flash", &self.flash)
            .field("message_class", &self.message_class())
            .finish_non_exhaustive()
    }
}

// Left out with their message by the code generator.
impl Debug for v1::message::Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.as_str_name())
    }
}

impl Debug for v1::message::Credit {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(self.as_str_name())
    }
}

impl Debug for v1::Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Part")
            .field("number", &self.number)
            .field("text", &Octets(self.text.len()))
            .field("units", &self.units)
            .field("unit_limit", &self.unit_limit)
            .field("status", &self.status())
            .field("provider_message_id", &self.provider_message_id)
            .finish()
    }
}

impl Debug for v1::DeliveryReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("DeliveryReport")
            .field("seq", &self.seq)
            .field("event_id", &self.event_id)
            .field("message_id", &self.message_id)
            .field("reference", &self.reference)
            .field("to", &Number(&self.to))
            .field("status", &self.status())
            .field("previous_status", &self.previous_status())
            .field("is_final", &self.is_final)
            .field("part_number", &self.part_number)
            .field("attempt", &self.attempt)
            .field("provider", &self.provider)
            .field("provider_message_id", &self.provider_message_id)
            .field("failure", &self.failure)
            .field("time", &self.time)
            .field("ignored", &self.ignored)
            .finish()
    }
}

impl Debug for v1::PreviewMessageRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("PreviewMessageRequest")
            .field("to", &Number(&self.to))
            .field("text", &Octets(self.text.len()))
            .field("sender", &self.sender)
            .field("encoding", &self.encoding())
            .field("data", &Octets(self.data.len()))
            .field("transliterate", &self.transliterate)
            .field("national_table", &self.national_table())
            .finish()
    }
}

impl Debug for v1::PreviewMessageResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("PreviewMessageResponse")
            .field("encoding", &self.encoding())
            .field("part_count", &self.part_count)
            .field("parts", &self.parts)
            .field("units", &self.units)
            .field("forcing_characters", &self.forcing_characters)
            .field("text", &Octets(self.text.len()))
            .field("price_micros", &self.price_micros)
            .field("currency", &self.currency)
            .field("is_transliterated", &self.is_transliterated)
            .field("national_table", &self.national_table())
            .finish()
    }
}

impl Debug for v1::ListMessagesRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("ListMessagesRequest")
            .field("page_size", &self.page_size)
            .field("page_token", &self.page_token)
            .field("statuses", &self.statuses)
            .field("to", &Number(&self.to))
            .field("sender", &self.sender)
            .field("reference", &self.reference)
            .field("created_after", &self.created_after)
            .field("created_before", &self.created_before)
            .finish()
    }
}

impl Debug for v1::QuoteRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("QuoteRequest")
            .field("to", &format_args!("<{} recipients>", self.to.len()))
            .field("text", &Octets(self.text.len()))
            .field("part_count", &self.part_count)
            .field("encoding", &self.encoding())
            .finish()
    }
}

impl Debug for v1::QuoteLine {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("QuoteLine")
            .field("to", &Number(&self.to))
            .field("country", &self.country)
            .field("rate_prefix", &self.rate_prefix)
            .field("part_count", &self.part_count)
            .field("part_price_micros", &self.part_price_micros)
            .field("price_micros", &self.price_micros)
            .field("error", &self.error)
            .finish()
    }
}

impl Debug for v1::CreateApiKeyResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("CreateApiKeyResponse")
            .field("api_key", &self.api_key)
            .field("secret", &format_args!("***"))
            .finish()
    }
}

impl Debug for v1::RotateApiKeyResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("RotateApiKeyResponse")
            .field("api_key", &self.api_key)
            .field("secret", &format_args!("***"))
            .field("old_api_key", &self.old_api_key)
            .finish()
    }
}

impl Debug for v1::CreateProviderKeyResponse {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("CreateProviderKeyResponse")
            .field("provider_key", &self.provider_key)
            .field("secret", &format_args!("***"))
            .finish()
    }
}
