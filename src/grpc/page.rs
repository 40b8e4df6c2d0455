//! Pages of lists: their size, and the tokens that lead from one to the next.

use delivery::port::Scanned;
use message::id::ClientId;
use tonic::Status;
use uuid::Uuid;

use super::faults::Faults;
use crate::status;
use crate::token::{BadToken, PageOf, Tokens};

/// Items on a page that names no size.
const SIZE_DEFAULT: usize = 50;
/// Most items on a page; more is cut down to it.
const SIZE_MAX: usize = 500;
/// Rows that are looked at for a page of a list that is filtered while it is read.
pub const SCAN_MAX: i64 = 5_000;
/// Octets of a page whose items may be large, far below the limit of an answer.
const FIT_MAX: usize = 1024 * 1024;
/// Whom the tokens of operators' lists belong to, which are no client's.
pub const OPERATORS: ClientId = ClientId::from_uuid(Uuid::nil());

/// The size of the page.
pub fn size(faults: &mut Faults, asked: i32) -> usize {
    match usize::try_from(asked) {
        Ok(0) => SIZE_DEFAULT,
        Ok(size) => size.min(SIZE_MAX),
        Err(_) => {
            faults.add("page_size", "must not be negative");
            0
        }
    }
}

/// The cursor in a page token of this client and list; `None` = the first page.
pub fn cursor<const N: usize>(
    tokens: &Tokens,
    client: ClientId,
    list: &PageOf,
    token: &str,
) -> Result<Option<[u8; N]>, Status> {
    let Some(cursor) = open(tokens, client, list, token)? else { return Ok(None) };
    cursor.try_into().map(Some).map_err(|_| status::page_token_invalid(BadToken))
}

/// The same of any length.
pub fn open(
    tokens: &Tokens,
    client: ClientId,
    list: &PageOf,
    token: &str,
) -> Result<Option<Vec<u8>>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    tokens.open_page(token, client, list).map(Some).map_err(status::page_token_invalid)
}

/// Cuts what was read, one item more than the page holds, to the page. Answers the token of the next page; empty =
/// this was the last.
pub fn cut<T>(
    tokens: &Tokens,
    client: ClientId,
    list: &PageOf,
    items: &mut Vec<T>,
    size: usize,
    cursor: impl FnOnce(&T) -> Vec<u8>,
) -> String {
    if items.len() <= size {
        return String::new();
    }
    items.truncate(size);
    items.last().map(|last| tokens.page(client, list, &cursor(last))).unwrap_or_default()
}

/// The same for a list that is filtered while it is read. Where the scan ended early, the next page goes on from there,
/// though this one may be short or empty.
pub fn cut_scanned<T, C>(
    tokens: &Tokens,
    client: ClientId,
    list: &PageOf,
    read: Scanned<T, C>,
    size: usize,
    place: impl FnOnce(&T) -> C,
    cursor: impl Fn(C) -> Vec<u8>,
) -> (Vec<T>, String) {
    let Scanned { mut items, scanned_to } = read;
    let mut next = cut(tokens, client, list, &mut items, size, |last| cursor(place(last)));
    if let Some(place) = scanned_to.filter(|_| next.is_empty()) {
        next = tokens.page(client, list, &cursor(place));
    }
    (items, next)
}

/// Keeps the first items that together have about [`FIT_MAX`] octets, and at least one. Answers whether any was cut off:
/// then the next page begins after the last that is left.
pub fn fit<T>(items: &mut Vec<T>, octets: impl Fn(&T) -> usize) -> bool {
    let mut sum = 0;
    let kept = items.iter().take_while(|item| {
        let is_first = sum == 0;
        sum += octets(item).max(1);
        is_first || sum <= FIT_MAX
    });
    let kept = kept.count();
    let is_cut = kept < items.len();
    items.truncate(kept);
    is_cut
}

/// How many items to read for a page: one more than it holds, which tells whether another follows.
pub fn read_limit(size: usize) -> i64 {
    i64::try_from(size + 1).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use message::id::Entropy;
    use message::time::Timestamp;
    use tonic::Code;

    use super::*;

    fn client(byte: u8) -> ClientId {
        ClientId::new(Timestamp::from_micros(1), Entropy([byte; 10]))
    }

    #[test]
    fn sizes_have_a_default_and_a_limit_and_are_not_negative() {
        for (asked, expected) in [(0, 50), (1, 1), (500, 500), (501, 500), (i32::MAX, 500)] {
            let mut faults = Faults::default();
            assert_eq!(size(&mut faults, asked), expected, "{asked}");
            assert!(faults.into_result().is_ok());
        }
        let mut faults = Faults::default();
        size(&mut faults, -1);
        assert_eq!(faults.fields(), ["page_size"]);
    }

    #[test]
    fn a_token_is_good_for_its_own_list_and_client_only() {
        let tokens = Tokens::new([1; 32], 5);
        let (list, other) = (PageOf::new("a", &[]), PageOf::new("b", &[]));
        let token = tokens.page(client(1), &list, &7i64.to_be_bytes());
        let read = |client, list: &PageOf, token: &str| cursor::<8>(&tokens, client, list, token);
        assert_eq!(read(client(1), &list, &token).unwrap(), Some(7i64.to_be_bytes()));
        assert_eq!(read(client(1), &list, "").unwrap(), None);
        for refused in
            [read(client(2), &list, &token), read(client(1), &other, &token), read(client(1), &list, "x")]
        {
            assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
        }
        assert!(cursor::<16>(&tokens, client(1), &list, &token).is_err());
    }

    #[test]
    fn a_page_ends_with_a_token_only_if_another_follows() {
        let tokens = Tokens::new([1; 32], 5);
        let list = PageOf::new("a", &[]);
        let cut = |items: &mut Vec<u8>| super::cut(&tokens, client(1), &list, items, 2, |last| vec![*last]);
        assert_eq!(cut(&mut vec![1, 2]), "");
        let mut items = vec![1, 2, 3];
        let token = cut(&mut items);
        assert_eq!(items, [1, 2]);
        assert_eq!(tokens.open_page(&token, client(1), &list), Ok(vec![2]));
    }
    #[test]
    fn a_page_of_a_scan_goes_on_after_its_last_item_or_from_where_the_scan_ended() {
        let tokens = Tokens::new([1; 32], 5);
        let list = PageOf::new("a", &[]);
        let cut = |items: &[u8], scanned_to| {
            let read = Scanned { items: items.to_vec(), scanned_to };
            let (items, next) =
                cut_scanned(&tokens, OPERATORS, &list, read, 2, |last| *last, |place: u8| vec![place]);
            let next = open(&tokens, OPERATORS, &list, &next).unwrap();
            (items, next.map(|cursor| cursor[0]))
        };
        assert_eq!(cut(&[9, 8], None), (vec![9, 8], None));
        assert_eq!(cut(&[9, 8, 7], None), (vec![9, 8], Some(8)));
        assert_eq!(cut(&[9], Some(4)), (vec![9], Some(4)));
        assert_eq!(cut(&[], Some(4)), (vec![], Some(4)));
        // More than the page holds: what was cut off comes before what was not looked at.
        assert_eq!(cut(&[9, 8, 7], Some(4)), (vec![9, 8], Some(8)));
    }
    #[test]
    fn a_page_of_large_items_is_cut_to_its_octets_but_never_to_none() {
        let fit = |sizes: &[usize]| {
            let mut items = sizes.to_vec();
            (fit(&mut items, |size| *size), items.len())
        };
        assert_eq!(fit(&[]), (false, 0));
        assert_eq!(fit(&[0, 0, 0]), (false, 3));
        assert_eq!(fit(&[2 * FIT_MAX, 1]), (true, 1));
        assert_eq!(fit(&[2 * FIT_MAX]), (false, 1));
        assert_eq!(fit(&[FIT_MAX / 2, FIT_MAX / 2, 1, 1]), (true, 2));
    }
}
