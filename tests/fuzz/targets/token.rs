//! Resume and page tokens: one opens only what it was sealed for, and only unchanged.
//!
//! Input: client, epoch, list, filter (a length and text each), place and replacement of the change, then
//! the cursor, which is also tried as a token.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use message::ClientId;
use message::id::Entropy;
use message::time::Timestamp;

#[allow(dead_code)]
#[path = "../../../src/token.rs"]
mod token;

use token::{BadToken, PageOf, Tokens};

/// The longest cursor whose token is still read: 512 characters hold 384 octets, 16 of them the seal.
const CURSOR_MAX: usize = 368;
const SECRET: [u8; 32] = [7; 32];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let client = client(input.byte());
    let epoch = u64::from(input.byte());
    let (list, filter) = (input.text(), input.text());
    let change = Change { place: input.place(usize::MAX), to: input.byte() };
    let cursor = input.rest();

    let tokens = Tokens::new(SECRET, epoch);
    resume_tokens(&tokens, epoch, client, &change, cursor);
    page_tokens(&tokens, client, (&list, &filter), &change, cursor);
    if let Ok(found) = std::str::from_utf8(cursor) {
        a_found_token_opens_only_if_it_is_ours(&tokens, client, &PageOf::new(&list, &[&filter]), found);
    }
});

fn client(number: u8) -> ClientId {
    ClientId::new(Timestamp::from_micros(0), Entropy([number; 10]))
}

/// Another client than `client(number)`, for each.
fn others(one: ClientId) -> impl Iterator<Item = ClientId> {
    [0, 1, 0x80, 0xFF].map(client).into_iter().filter(move |other| *other != one)
}

fn resume_tokens(tokens: &Tokens, epoch: u64, client: ClientId, change: &Change, bytes: &[u8]) {
    let seq = i64::from_be_bytes(Input::new(bytes).array());
    let token = tokens.resume(client, seq);
    assert_eq!(tokens.open_resume(&token, client), Ok(seq));
    assert_eq!(tokens.resume(client, seq), token, "one position has one token");
    for other in others(client) {
        assert_eq!(tokens.open_resume(&token, other), Err(BadToken), "another client's");
    }
    assert_eq!(Tokens::new(SECRET, !epoch).open_resume(&token, client), Err(BadToken), "another history's");
    assert_eq!(Tokens::new([8; 32], epoch).open_resume(&token, client), Err(BadToken), "another secret's");
    let page = PageOf::new("", &[]);
    assert_eq!(tokens.open_page(&token, client, &page), Err(BadToken), "not a page token");
    for changed in change.all(&token) {
        assert_eq!(tokens.open_resume(&changed, client), Err(BadToken), "changed to {changed}");
    }
}

fn page_tokens(tokens: &Tokens, client: ClientId, of: (&str, &str), change: &Change, cursor: &[u8]) {
    let (list, filter) = of;
    let page = PageOf::new(list, &[filter]);
    let token = tokens.page(client, &page, cursor);
    if cursor.len() > CURSOR_MAX {
        assert_eq!(tokens.open_page(&token, client, &page), Err(BadToken), "too long to be read");
        return;
    }
    assert_eq!(tokens.open_page(&token, client, &page).as_deref(), Ok(cursor));
    for other in others(client) {
        assert_eq!(tokens.open_page(&token, other, &page), Err(BadToken), "another client's");
    }
    for (list, filter) in other_lists(list, filter, change.place) {
        let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
        let other = PageOf::new(&list, &filter);
        assert_eq!(
            tokens.open_page(&token, client, &other),
            Err(BadToken),
            "the list {list:?} by {filter:?}"
        );
    }
    assert_eq!(tokens.open_resume(&token, client), Err(BadToken), "not a resume token");
    for changed in change.all(&token) {
        assert_eq!(tokens.open_page(&changed, client, &page), Err(BadToken), "changed to {changed}");
    }
}

/// Lists whose names and filters join to the same text or are otherwise close.
fn other_lists(list: &str, filter: &str, place: usize) -> Vec<(String, Vec<String>)> {
    let joined = format!("{list}{filter}");
    let edges: Vec<usize> = joined.char_indices().map(|(at, _)| at).chain([joined.len()]).collect();
    let (moved_list, moved_filter) = joined.split_at(edges[place % edges.len()]);
    let mut others = vec![
        (joined.clone(), vec![]),
        (list.to_owned(), vec![]),
        (list.to_owned(), vec![filter.to_owned(), String::new()]),
        (list.to_owned(), vec![String::new(), filter.to_owned()]),
        (format!("{list}\0"), vec![filter.to_owned()]),
        (moved_list.to_owned(), vec![moved_filter.to_owned()]),
    ];
    others.retain(|other| *other != (list.to_owned(), vec![filter.to_owned()]));
    others
}

/// Whatever opens is spelled exactly as we seal it: no token has a second spelling.
fn a_found_token_opens_only_if_it_is_ours(tokens: &Tokens, client: ClientId, page: &PageOf, found: &str) {
    if let Ok(seq) = tokens.open_resume(found, client) {
        assert_eq!(tokens.resume(client, seq), found);
    }
    if let Ok(cursor) = tokens.open_page(found, client, page) {
        assert_eq!(tokens.page(client, page, &cursor), found);
    }
}

/// One change of a token.
struct Change {
    place: usize,
    to: u8,
}

impl Change {
    /// A character replaced by any ASCII character, an octet under the seal changed, one character less, one more.
    fn all(&self, token: &str) -> Vec<String> {
        let place = self.place % token.len();
        let to = self.to & 0x7F;
        let mut character = token.as_bytes().to_vec();
        character[place] = to;
        let mut octets = URL_SAFE_NO_PAD.decode(token).expect("a token is base64");
        let octet = self.place % octets.len();
        octets[octet] = self.to;
        let mut longer = token.to_owned();
        longer.insert(place, char::from(to));
        let mut shorter = token.to_owned();
        shorter.remove(place);
        let character = String::from_utf8(character).expect("ASCII stays ASCII");
        let mut all = vec![character, URL_SAFE_NO_PAD.encode(octets), longer, shorter, format!("{token}=")];
        all.retain(|changed| changed != token);
        all
    }
}
