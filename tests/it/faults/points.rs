//! The crash points, read from the source: whatever a flow waits for outside is one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use delivery::faults::POINTS;
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit::{self, Visit};
use syn::{Expr, ExprAwait, Macro, TraitItem};

/// The ports: what is called on them happens outside.
const PORTS: [&str; 8] = [
    "crates/delivery/src/port/admin.rs",
    "crates/delivery/src/port/audit.rs",
    "crates/delivery/src/port/limiter.rs",
    "crates/delivery/src/port/queue.rs",
    "crates/delivery/src/port/store.rs",
    "crates/delivery/src/port/view.rs",
    "crates/delivery/src/retention.rs",
    "crates/provider/src/contract.rs",
];

/// The flows, with those whose steps a file names by a variable.
const FLOWS: [(&str, &[&str]); 14] = [
    ("crates/delivery/src/accept/batcher.rs", &["accept", "replay"]),
    ("crates/delivery/src/accept/gate.rs", &[]),
    ("crates/delivery/src/accept/gate/limit.rs", &[]),
    ("crates/delivery/src/accept/replay.rs", &[]),
    ("crates/delivery/src/cancel.rs", &[]),
    ("crates/delivery/src/change.rs", &["record", "report", "settle", "cancel"]),
    ("crates/delivery/src/dispatch.rs", &[]),
    ("crates/delivery/src/inbox.rs", &[]),
    ("crates/delivery/src/lane.rs", &[]),
    ("crates/delivery/src/retention.rs", &[]),
    ("crates/delivery/src/sweep.rs", &[]),
    ("src/grpc/admin/replay.rs", &[]),
    ("src/grpc/report.rs", &[]),
    ("crates/queue-nats/src/offer.rs", &[]),
];
/// Points of one adapter alone.
const OTHERS: [(&str, &[&str]); 1] = [("crates/store-postgres/src/partitions.rs", &[])];

/// What ports are called where they are used.
const HANDLES: [&str; 9] =
    ["archive", "bell", "jetstream", "lanes", "limiter", "provider", "queue", "store", "tx"];

/// Waits that are no crash points all the same.
const EXEMPT: [(&str, &str); 4] = [
    // Only a planted bug waits there.
    ("crates/delivery/src/accept/batcher.rs", "commit"),
    // The end of a task of this process.
    ("crates/delivery/src/accept/batcher.rs", "a variable"),
    ("crates/delivery/src/dispatch.rs", "a variable"),
    // Whoever calls it is at a point then.
    ("crates/delivery/src/lane.rs", "take"),
];

/// Only an attempt's outcome makes a dead letter.
const IMPOSSIBLE: [&str; 3] = ["report.dead", "settle.dead", "cancel.dead"];

#[test]
fn whatever_a_flow_waits_for_outside_is_a_crash_point() {
    let ports: BTreeSet<String> = PORTS.iter().flat_map(|file| calls_of_traits(&parsed(file))).collect();
    assert!(
        ["commit", "claim", "offer", "submit", "admit", "events"].iter().all(|call| ports.contains(*call))
    );
    let mut found = BTreeSet::new();
    for (file, _) in FLOWS {
        found.extend(bare_waits(&parsed(file), &ports).into_iter().map(|bare| (file, bare)));
    }
    assert_eq!(found, EXEMPT.into_iter().map(|(file, bare)| (file, bare.to_owned())).collect());
}

#[test]
fn each_crash_point_is_listed_and_is_at_one_place() {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (file, flows) in FLOWS.iter().chain(&OTHERS) {
        for point in points_in(&parsed(file), flows) {
            *places.entry(point).or_default() += 1;
        }
    }
    places.retain(|point, _| !IMPOSSIBLE.contains(&point.as_str()));
    let listed: BTreeMap<String, usize> = POINTS.iter().map(|point| ((*point).to_owned(), 1)).collect();
    assert_eq!(places, listed);
}

#[test]
fn a_wait_outside_of_a_crash_point_is_reported() {
    let ports = BTreeSet::from(["commit".to_owned()]);
    let waits = |body: &str| {
        let file = syn::parse_str(&format!("async fn flow() {{ {body} }}")).expect("it is Rust");
        bare_waits(&file, &ports)
    };
    assert_eq!(waits("tx.commit().await?;"), ["commit"]);
    assert_eq!(waits("if true { loop { (self.tx.as_ref().commit()).await } }"), ["commit"]);
    assert_eq!(
        waits("tokio::select! { done = tx.commit() => done, () = stop.cancelled() => () }"),
        ["commit"]
    );
    assert_eq!(waits("let work = tx.commit(); work.await?;"), ["a variable"]);
    assert_eq!(
        waits("crash_point!(\"a.b\", tx.commit()).await?; stop.cancelled().await"),
        Vec::<String>::new()
    );
    assert_eq!(
        waits("tokio::select! { done = crash_point!(\"a.b\", tx.commit()) => done }"),
        Vec::<String>::new()
    );
}

fn parsed(file: &str) -> syn::File {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut file = syn::parse_file(&text).expect("it is Rust");
    file.items.retain(|item| !matches!(item, syn::Item::Mod(module) if module.ident == "tests"));
    file
}

/// The names of the calls that one waits for.
fn calls_of_traits(file: &syn::File) -> Vec<String> {
    let items = file.items.iter().filter_map(|item| match item {
        syn::Item::Trait(port) => Some(&port.items),
        _ => None,
    });
    items
        .flatten()
        .filter_map(|item| match item {
            TraitItem::Fn(call) if call.sig.asyncness.is_some() => Some(call.sig.ident.to_string()),
            _ => None,
        })
        .collect()
}

/// Waits that are no crash points: of a call on a port, or of a variable, which may be one.
fn bare_waits(file: &syn::File, ports: &BTreeSet<String>) -> Vec<String> {
    struct Waits<'a> {
        ports: &'a BTreeSet<String>,
        found: Vec<String>,
    }
    impl Visit<'_> for Waits<'_> {
        fn visit_expr_await(&mut self, wait: &ExprAwait) {
            match inner(&wait.base) {
                Expr::MethodCall(call)
                    if self.ports.contains(&call.method.to_string()) && is_handle(&call.receiver) =>
                {
                    self.found.push(call.method.to_string());
                }
                Expr::Path(_) => self.found.push("a variable".into()),
                _ => {}
            }
            visit::visit_expr_await(self, wait);
        }

        fn visit_macro(&mut self, each: &Macro) {
            if !each.path.is_ident("crash_point") {
                calls_in(each.tokens.clone(), self.ports, &mut self.found);
            }
        }
    }
    let mut waits = Waits { ports, found: Vec::new() };
    waits.visit_file(file);
    waits.found
}

fn inner(expression: &Expr) -> &Expr {
    match expression {
        Expr::Paren(paren) => inner(&paren.expr),
        Expr::Group(group) => inner(&group.expr),
        other => other,
    }
}

/// The receiver is a port, or a field that is one, or a reference to it.
fn is_handle(receiver: &Expr) -> bool {
    match receiver {
        Expr::Path(path) => {
            path.path.segments.last().is_some_and(|name| HANDLES.iter().any(|handle| name.ident == handle))
        }
        Expr::Field(field) => {
            matches!(&field.member, syn::Member::Named(name) if HANDLES.iter().any(|handle| name == handle))
        }
        Expr::MethodCall(call) => is_handle(&call.receiver),
        Expr::Paren(paren) => is_handle(&paren.expr),
        _ => false,
    }
}

/// Calls on ports among the tokens of a macro, outside of crash points in it.
fn calls_in(tokens: TokenStream, ports: &BTreeSet<String>, found: &mut Vec<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        let before = |back: usize| index.checked_sub(back).map(|index| tokens[index].to_string());
        let is_crash_point = before(1).as_deref() == Some("!") && before(2).as_deref() == Some("crash_point");
        match token {
            TokenTree::Ident(name)
                if ports.contains(&name.to_string())
                    && before(1).as_deref() == Some(".")
                    && before(2).is_some_and(|handle| HANDLES.contains(&handle.as_str())) =>
            {
                found.push(name.to_string());
            }
            TokenTree::Group(group) if !is_crash_point => calls_in(group.stream(), ports, found),
            _ => {}
        }
    }
}

/// The points of a file; those with a variable flow, once for each of `flows`.
fn points_in(file: &syn::File, flows: &[&str]) -> Vec<String> {
    fn collect(tokens: TokenStream, flows: &[&str], found: &mut Vec<String>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            let TokenTree::Group(group) = token else { continue };
            let is_point = index > 1 && tokens[index - 2].to_string() == "crash_point";
            if is_point {
                found.extend(named(group.stream(), flows));
            }
            collect(group.stream(), flows, found);
        }
    }
    let mut found = Vec::new();
    collect(file.to_token_stream(), flows, &mut found);
    found
}

/// The names in `"flow.step", work` or in `flow => "step", work`.
fn named(tokens: TokenStream, flows: &[&str]) -> Vec<String> {
    let head: Vec<TokenTree> = tokens
        .into_iter()
        .take_while(|token| !matches!(token, TokenTree::Punct(mark) if mark.as_char() == ','))
        .collect();
    let name = head.last().expect("a point has a name").to_string();
    let name = name.trim_matches('"');
    if head.len() == 1 {
        return vec![name.to_owned()];
    }
    assert!(!flows.is_empty(), "a point's flow is a variable of which nothing is known");
    flows.iter().map(|flow| format!("{flow}.{name}")).collect()
}
