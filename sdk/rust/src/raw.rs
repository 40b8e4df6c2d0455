//! The generated clients over one authorised connection.

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::config::{Config, Key};
use crate::error::Error;
use crate::v1::account_service_client::AccountServiceClient;
use crate::v1::admin_service_client::AdminServiceClient;
use crate::v1::billing_service_client::BillingServiceClient;
use crate::v1::event_service_client::EventServiceClient;
use crate::v1::messaging_service_client::MessagingServiceClient;

/// A page of 500 messages of 255 parts is far above tonic's 4 MiB.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// A connection that adds the key to each call.
pub type Transport = InterceptedService<Channel, Authorize>;

/// The generated tonic clients, authorised: no deadlines, no retries, bare statuses.
#[derive(Clone, Debug)]
pub struct Raw {
    channel: Channel,
    authorize: Authorize,
}

impl Raw {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let channel = endpoint(config)?.connect_lazy();
        Ok(Self { channel, authorize: Authorize::new(&config.key, config.client_id.as_deref())? })
    }

    /// On the same connection.
    pub(crate) fn with_key(&self, key: &Key) -> Result<Self, Error> {
        Ok(Self { channel: self.channel.clone(), authorize: Authorize::new(key, None)? })
    }

    fn transport(&self) -> Transport {
        InterceptedService::new(self.channel.clone(), self.authorize.clone())
    }

    pub fn messaging(&self) -> MessagingServiceClient<Transport> {
        MessagingServiceClient::new(self.transport()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub fn events(&self) -> EventServiceClient<Transport> {
        EventServiceClient::new(self.transport()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub fn billing(&self) -> BillingServiceClient<Transport> {
        BillingServiceClient::new(self.transport()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    pub fn accounts(&self) -> AccountServiceClient<Transport> {
        AccountServiceClient::new(self.transport())
    }

    pub fn admin(&self) -> AdminServiceClient<Transport> {
        AdminServiceClient::new(self.transport()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }
}

/// Adds the API key, and the client that an operator key acts for.
#[derive(Clone, Debug)]
pub struct Authorize {
    key: MetadataValue<Ascii>,
    client_id: Option<MetadataValue<Ascii>>,
}

impl Authorize {
    fn new(key: &Key, client_id: Option<&str>) -> Result<Self, Error> {
        let refuse =
            |what: &str| Error::local(Code::InvalidArgument, format!("{what} has characters that none has"));
        let mut key: MetadataValue<Ascii> = key.expose().trim().parse().map_err(|_| refuse("the API key"))?;
        key.set_sensitive(true);
        let client_id = client_id.map(str::parse).transpose();
        Ok(Self { key, client_id: client_id.map_err(|_| refuse("the client id"))? })
    }
}

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("x-api-key", self.key.clone());
        if let Some(client_id) = &self.client_id {
            request.metadata_mut().insert("herald-client-id", client_id.clone());
        }
        Ok(request)
    }
}

fn endpoint(config: &Config) -> Result<Endpoint, Error> {
    let refuse = |why: String| Error::local(Code::InvalidArgument, why);
    let url = &config.url;
    let endpoint = Endpoint::from_shared(url.clone()).map_err(|_| refuse(format!("{url:?} is not a URL")))?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none() {
        return Err(refuse(format!(
            "{url:?} is not of the form http://HOST:PORT, which is all that this SDK speaks"
        )));
    }
    endpoint
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .keep_alive_while_idle(true)
        .user_agent(concat!("herald-sdk-rust/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn calls_carry_the_key_and_whom_it_acts_for() {
        let mut config = Config::new("http://127.0.0.1:1", "hk_a_b_c\n");
        config.client_id = Some("0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55".into());
        let raw = Raw::new(&config).unwrap();
        let mut authorize = raw.authorize.clone();
        let request = authorize.call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get("x-api-key").unwrap(), "hk_a_b_c");
        assert_eq!(
            request.metadata().get("herald-client-id").unwrap(),
            "0198e7a2-5c1e-7b90-9a41-0c6f2d3b8e55"
        );
        assert!(!format!("{authorize:?}{request:?}").contains("hk_a_b_c"));
        let mut other = raw.with_key(&"hk_d_e_f".into()).unwrap().authorize;
        let request = other.call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get("x-api-key").unwrap(), "hk_d_e_f");
        assert!(request.metadata().get("herald-client-id").is_none());
    }

    #[test]
    fn what_cannot_be_a_server_or_a_key_is_refused_at_once() {
        for url in ["", "127.0.0.1", "ftp://127.0.0.1:7670", "https://127.0.0.1:7670", "http://a b"] {
            assert!(endpoint(&Config::new(url, "hk_a_b_c")).is_err(), "{url}");
        }
        assert!(endpoint(&Config::new("http://[::1]:7670", "hk_a_b_c")).is_ok());
        assert!(Authorize::new(&"two\nlines".into(), None).is_err());
    }
}
