//! The feed of dead letters: JSON for whoever analyses them. Ids, provider and reason; never a text or a number.

use async_nats::Message;
use async_nats::jetstream::message::PublishMessage;
use delivery::model::DeadLetter;
use serde_json::{Value, json};
use tokio::time::{Duration, timeout};

use crate::queue::Shared;

const LIMIT: Duration = Duration::from_secs(1);

impl Shared {
    pub(crate) async fn publish_letters(&self, letters: &[DeadLetter]) {
        if !self.watch.is_usable() {
            return self.note_untold(letters.len() as u64);
        }
        let mut told = 0;
        let publish = async {
            for letter in letters {
                let id = format!("{}.dead", letter.key.id);
                if self.publish_letter(&describe(letter), Some(id)).await {
                    told += 1;
                }
            }
        };
        let _ = timeout(LIMIT, publish).await;
        self.note_untold(letters.len() as u64 - told);
    }

    /// What came as an id and is none. Its content is not told: nobody knows what it is.
    pub(crate) fn refuse(&self, message: &Message) {
        metrics::counter!("herald_queue_unparsable_total").increment(1);
        let (subject, bytes) = (message.subject.as_str(), message.payload.len());
        if let Some(count) = self.unparsable.count(1) {
            tracing::warn!(
                "{count} entries of the queue were no ids, the last one of {bytes} bytes on {subject}"
            );
        }
        let sequence = message.reply.as_deref().unwrap_or_default();
        let letter = json!({"kind": "unparsable", "subject": subject, "bytes": bytes, "delivery": sequence});
        // Full = a flood of them, which the count tells of.
        let _ = self.unparsable_letters.try_send(letter);
    }

    /// Whether it was sent; the server's word is not awaited.
    pub(crate) async fn publish_letter(&self, letter: &Value, id: Option<String>) -> bool {
        let mut message = PublishMessage::build().payload(letter.to_string().into());
        if let Some(id) = id {
            message = message.message_id(id);
        }
        self.jetstream.send_publish(self.options.dead_letter_subject(), message).await.is_ok()
    }

    fn note_untold(&self, count: u64) {
        if count > 0 {
            metrics::counter!("herald_dead_letters_untold_total").increment(count);
        }
    }
}

fn describe(letter: &DeadLetter) -> Value {
    json!({
        "kind": "dead_letter",
        "client_id": letter.key.client.to_string(),
        "message_id": letter.key.id.to_string(),
        "provider": letter.provider,
        "reason": letter.failure.reason.as_str(),
        "has_unknown_attempt": letter.has_unknown_attempt,
        "at_micros": letter.at.as_micros(),
    })
}
