//! The gateway by hand: the real grpcurl, which knows the API by reflection alone.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Account, Ended, Herald, Mode, NewAccount, Process, Setup, in_both_modes};

/// Set by `make test`, which installs it.
const GRPCURL: &str = "HERALD_TEST_GRPCURL";

in_both_modes! {
    the_api_can_be_explored_and_used_by_hand,
    an_error_shows_its_details_in_words,
}

async fn the_api_can_be_explored_and_used_by_hand(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::default()).await;
    let hand = Hand { herald: &herald, account: &account };

    let services = hand.ask(&["list"]).await;
    for service in ["MessagingService", "EventService", "BillingService", "AccountService", "AdminService"] {
        assert!(services.lines().any(|line| line == format!("herald.v1.{service}")), "{services}");
    }
    for standard in [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ] {
        assert!(services.lines().any(|line| line == standard), "{standard} is not listed: {services}");
    }
    let described = hand.ask(&["describe", "herald.v1.MessagingService.SendMessage"]).await;
    assert!(described.contains("rpc SendMessage ( .herald.v1.SendMessageRequest )"), "{described}");
    let described = hand.ask(&["describe", "herald.v1.SendMessageRequest"]).await;
    assert!(described.contains("string to = 1"), "{described}");

    let healthy = hand.call(&json!({}), "grpc.health.v1.Health/Check").await;
    assert_eq!(healthy["status"], "SERVING");

    let sent = hand
        .call(&json!({"to": "+12025550100", "text": "Hello"}), "herald.v1.MessagingService/SendMessage")
        .await;
    assert_eq!(
        (&sent["message"]["status"], &sent["message"]["credit"]),
        (&json!("STATUS_QUEUED"), &json!("CREDIT_HELD"))
    );
    let id = sent["message"]["id"].as_str().expect("an id").to_owned();

    let seen = hand.watch_until_delivered(&id).await;
    assert_eq!(seen, ["STATUS_QUEUED", "STATUS_SENDING", "STATUS_SENT", "STATUS_DELIVERED"]);

    let got = hand.call(&json!({"message_id": id}), "herald.v1.MessagingService/GetMessage").await;
    assert_eq!(got["message"]["status"], "STATUS_DELIVERED");
    let listed = hand.call(&json!({}), "herald.v1.MessagingService/ListMessages").await;
    assert_eq!(listed["messages"][0]["id"], json!(id));
    let balance = hand.call(&json!({}), "herald.v1.BillingService/GetBalance").await;
    assert_eq!(balance["balance"]["availableMicros"], "999990000");
    herald.finish().await;
}

async fn an_error_shows_its_details_in_words(mode: Mode) {
    let mut herald = Herald::start(mode, Setup::default()).await;
    let account = herald.account(NewAccount::with_credit(1)).await;
    let hand = Hand { herald: &herald, account: &account };
    let wanted = json!({"to": "+12025550100", "text": "Hello"});
    let poor = hand.fail(&wanted, "herald.v1.MessagingService/SendMessage").await;
    for word in [
        "Code: FailedPrecondition",
        "INSUFFICIENT_CREDIT",
        "need_micros",
        "10000",
        "type.googleapis.com/google.rpc.ErrorInfo",
    ] {
        assert!(poor.contains(word), "{word} is not in:\n{poor}");
    }
    let invalid = hand.fail(&json!({"to": "nobody"}), "herald.v1.MessagingService/SendMessage").await;
    for word in ["Code: InvalidArgument", "google.rpc.BadRequest", "\"field\": \"to\"", "\"field\": \"text\""]
    {
        assert!(invalid.contains(word), "{word} is not in:\n{invalid}");
    }
    herald.finish().await;
}

/// Somebody with a shell.
struct Hand<'a> {
    herald: &'a Herald,
    account: &'a Account,
}

impl Hand<'_> {
    fn command(&self, options: &[&str], arguments: &[&str]) -> Command {
        let grpcurl = std::env::var_os(GRPCURL)
            .unwrap_or_else(|| panic!("{GRPCURL} is not set: run `make test`, which installs grpcurl"));
        let mut command = Command::new(grpcurl);
        command.arg("-plaintext").args(options).arg(self.herald.address().to_string()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn start(&self, options: &[&str], arguments: &[&str]) -> Process {
        Process::start("grpcurl", self.herald.folder(), self.command(options, arguments))
    }

    /// Needs no key: reflection.
    async fn ask(&self, arguments: &[&str]) -> String {
        let ended = self.start(&[], arguments).ended().await;
        assert!(ended.status.success(), "grpcurl {arguments:?}: {ended:?}");
        ended.stdout
    }

    async fn run(&self, request: &Value, method: &str) -> Ended {
        let key = format!("x-api-key: {}", self.account.key);
        self.start(&["-H", &key, "-d", &request.to_string()], &[method]).ended().await
    }

    async fn call(&self, request: &Value, method: &str) -> Value {
        let ended = self.run(request, method).await;
        assert!(ended.status.success(), "grpcurl {method}: {ended:?}");
        serde_json::from_str(&ended.stdout).expect("grpcurl prints JSON")
    }

    /// What grpcurl says of a call that is refused.
    async fn fail(&self, request: &Value, method: &str) -> String {
        let ended = self.run(request, method).await;
        assert!(!ended.status.success(), "grpcurl {method} was answered: {ended:?}");
        ended.stderr
    }

    /// The statuses of a message as a stream shows them; the stream is cut off after DELIVERED.
    async fn watch_until_delivered(&self, id: &str) -> Vec<String> {
        let key = format!("x-api-key: {}", self.account.key);
        let request = json!({"from_oldest": true, "message_ids": [id]}).to_string();
        let method = "herald.v1.MessagingService/SubscribeDeliveryReports";
        let watcher = self.start(&["-H", &key, "-d", &request], &[method]);
        let printed = watcher.stdout();
        printed
            .find("STATUS_DELIVERED", |line| line.contains("\"status\": \"STATUS_DELIVERED\"").then_some(()))
            .await;
        watcher.kill().await;
        let status = |line: &String| {
            let value = line.trim().strip_prefix("\"status\": \"")?;
            Some(value.trim_end_matches([',', '"']).to_owned())
        };
        printed.so_far().iter().filter_map(status).collect()
    }
}
