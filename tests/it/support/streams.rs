//! The streams of one test's installation on the NATS that all tests share.

use async_nats::jetstream::context::{DeleteStreamError, DeleteStreamErrorKind};
use async_nats::jetstream::{self, ErrorCode};

use super::mode::url_in;
use super::removal::{Failure, remove};

/// The URL of a server, or of several with commas between; each test has its own prefix there.
const NATS_URL: &str = "HERALD_TEST_NATS_URL";

/// What a server with this prefix makes. Removed on drop, when that server must have ended: it would make them again.
pub(super) struct Streams {
    url: String,
    names: [String; 2],
}

impl Streams {
    pub(super) fn called(prefix: &str) -> Self {
        let stream = format!("{}_SEND", prefix.to_uppercase());
        Self { url: url_in(NATS_URL), names: [format!("{stream}_DEAD_LETTERS"), stream] }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// As if the server had lost them.
    #[cfg(feature = "faults")]
    pub(super) async fn lose(&self) {
        delete(&self.url, &self.names).await.expect("the streams are deleted");
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let (url, names) = (std::mem::take(&mut self.url), std::mem::take(&mut self.names));
        remove("streams are", async move { delete(&url, &names).await });
    }
}

async fn delete(url: &str, names: &[String]) -> Result<(), Failure> {
    let servers: Vec<&str> = url.split(',').collect();
    let jetstream = jetstream::new(async_nats::connect(servers).await?);
    for name in names {
        jetstream.delete_stream(name).await.map(drop).or_else(unless_absent)?;
    }
    Ok(())
}

/// A server that never started made none.
fn unless_absent(error: DeleteStreamError) -> Result<(), DeleteStreamError> {
    match error.kind() {
        DeleteStreamErrorKind::JetStream(cause) if cause.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            Ok(())
        }
        _ => Err(error),
    }
}
