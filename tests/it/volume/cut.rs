//! A stream that is cut: what was acknowledged is kept, and what was not is sent again without being done twice.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use herald_sdk::{Client, Config, RetryPolicy};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::upload::{Upload, accepted, frame};
use crate::support::{
    Account, Herald, Mode, NewAccount, PART_PRICE, Setup, every_message, in_both_modes, nothing_held, until,
};

in_both_modes! {
    a_server_that_is_killed_loses_nothing_acknowledged_and_repeats_nothing,
    a_connection_that_is_cut_loses_nothing_acknowledged_and_repeats_nothing,
}

/// Messages of a story, and after how many acknowledgements it is cut, again and again.
const COUNT: usize = 2_000;
const CUTS: [usize; 3] = [150, 700, 1_300];

async fn a_server_that_is_killed_loses_nothing_acknowledged_and_repeats_nothing(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let mut campaign = Campaign::default();
    for cut in CUTS {
        let client = herald.client(&account.key);
        let mut upload = campaign.open(&client).await;
        campaign.acknowledge(&mut upload, cut).await;
        herald.kill().await;
        campaign.acknowledge_the_rest(upload).await;
        herald.start_server().await;
        campaign.check_kept(&herald.client(&account.key)).await;
    }
    campaign.finish(&herald, &account).await;
    herald.finish().await;
}

async fn a_connection_that_is_cut_loses_nothing_acknowledged_and_repeats_nothing(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let mut campaign = Campaign::default();
    for cut in CUTS {
        let proxy = Proxy::start(herald.address()).await;
        let mut config = Config::new(format!("http://{}", proxy.address), account.key.as_str());
        config.retry = RetryPolicy::none();
        let client = Client::connect_lazy(config).expect("the address is well formed");
        let mut upload = campaign.open(&client).await;
        campaign.acknowledge(&mut upload, cut).await;
        drop(proxy);
        campaign.acknowledge_the_rest(upload).await;
        campaign.check_kept(&account.client).await;
    }
    campaign.finish(&herald, &account).await;
    herald.finish().await;
}

/// What has been acknowledged, by number, and as which message.
#[derive(Default)]
struct Campaign {
    acknowledged: BTreeSet<usize>,
    ids: BTreeSet<String>,
}

impl Campaign {
    /// Opens a stream that sends all that is not acknowledged, in a task of its own.
    async fn open(&self, client: &Client) -> Upload {
        let upload = until("a stream", async || Upload::open(client).await.ok()).await;
        let left: Vec<usize> = (0..COUNT).filter(|number| !self.acknowledged.contains(number)).collect();
        let up = upload.up.clone();
        tokio::spawn(async move {
            for number in left {
                if up.send(frame(&number.to_string())).await.is_err() {
                    return;
                }
            }
        });
        upload
    }

    /// Until so many are acknowledged.
    async fn acknowledge(&mut self, upload: &mut Upload, count: usize) {
        while self.acknowledged.len() < count {
            let ack = upload.next_ack().await.expect("the stream goes on").expect("no error");
            self.note(&ack);
        }
    }

    /// What had come when the stream was cut.
    async fn acknowledge_the_rest(&mut self, mut upload: Upload) {
        loop {
            match upload.next_ack().await {
                Some(Ok(ack)) => self.note(&ack),
                Some(Err(_)) => return,
                None => panic!("a cut is no end"),
            }
        }
    }

    fn note(&mut self, ack: &herald_sdk::v1::StreamAck) {
        let number = ack.tag.parse().expect("tags are numbers");
        assert!(self.acknowledged.insert(number), "{number} is acknowledged twice");
        assert!(self.ids.insert(accepted(ack).message_id.clone()), "{number} is another's message");
    }

    /// Every message that was acknowledged is there.
    async fn check_kept(&self, client: &Client) {
        let kept: BTreeSet<String> =
            every_message(client).await.into_iter().map(|message| message.id).collect();
        assert!(self.ids.is_subset(&kept), "{:?} are lost", self.ids.difference(&kept));
    }

    /// Sends the rest; then each message is there once, and was paid for once.
    async fn finish(&mut self, herald: &Herald, account: &Account) {
        assert!(self.acknowledged.len() < COUNT, "the stream was cut too late to leave anything");
        let client = herald.client(&account.key);
        let mut upload = self.open(&client).await;
        self.acknowledge(&mut upload, COUNT).await;
        let (more, end) = upload.half_close().await;
        assert!(more.is_empty() && end.is_ok(), "{more:?} {end:?}");
        let kept: BTreeSet<String> =
            every_message(&client).await.into_iter().map(|message| message.id).collect();
        assert_eq!(kept, self.ids);
        let balance = nothing_held(&client).await;
        let spent = NewAccount::default().credit_micros - balance.available_micros;
        assert_eq!(spent, PART_PRICE * i64::try_from(COUNT).expect("a few"));
    }
}

/// Passes connections on. Dropped, it cuts them all.
struct Proxy {
    address: SocketAddr,
    _connections: JoinSet<()>,
}

impl Proxy {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut far = TcpStream::connect(server).await.expect("the server listens");
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { address, _connections: accepting }
    }
}
