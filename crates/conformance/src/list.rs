//! Lists that are filtered while they are read: what each page must be, and that whoever goes on sees each item once.

use std::fmt::Debug;

use delivery::port::Scanned;

use crate::verbs::ALL;

/// Limits and scans, in every order of magnitude beside each other.
pub const SIZES: [(i64, i64); 8] =
    [(1, 1), (1, ALL), (2, 7), (3, 2), (3, ALL), (ALL, 1), (ALL, 4), (ALL, ALL)];

/// A row of a list, in its place.
pub struct Row<T, C> {
    pub place: C,
    /// `None` = the filter hides it.
    pub shown: Option<T>,
    /// Whether it lies within the times that the filter names. At what does not, a store need not look.
    pub is_in_range: bool,
}

/// Reads the list by pages of several sizes. `page` gets the place to go on from, the limit and the scan.
pub async fn assert_pages<T, C>(rows: &[Row<T, C>], page: impl AsyncFn(Option<C>, i64, i64) -> Scanned<T, C>)
where
    T: PartialEq + Debug,
    C: Copy + PartialEq + Debug,
{
    for (limit, scan) in SIZES {
        assert_read(rows, limit, scan, &page).await;
    }
}

/// Reads the list to its end by pages of one size.
pub async fn assert_read<T, C>(
    rows: &[Row<T, C>],
    limit: i64,
    scan: i64,
    page: impl AsyncFn(Option<C>, i64, i64) -> Scanned<T, C>,
) where
    T: PartialEq + Debug,
    C: Copy + PartialEq + Debug,
{
    let (mut rest, mut from) = (rows, None);
    loop {
        let found = page(from, limit, scan).await;
        let Some(seen) = assert_page(rest, &found, limit, scan) else { return };
        from = Some(rest[seen - 1].place);
        rest = &rest[seen..];
    }
}

/// Holds a page against the rows that were left to read. Answers how many of them are dealt with; `None` = all.
fn assert_page<T, C>(rows: &[Row<T, C>], page: &Scanned<T, C>, limit: i64, scan: i64) -> Option<usize>
where
    T: PartialEq + Debug,
    C: Copy + PartialEq + Debug,
{
    let what = format!("at most {limit} of {scan}: {page:?}");
    let (limit, scan) = (usize::try_from(limit).unwrap(), usize::try_from(scan).unwrap());
    let is_full = page.items.len() >= limit;
    let shown: Vec<_> = (0..rows.len()).filter(|index| rows[*index].shown.is_some()).collect();
    let seen = match page.scanned_to {
        // Whoever reads on does so from the last item.
        _ if is_full => 1 + *shown.get(limit - 1).expect("there are as many items"),
        Some(end) => 1 + rows.iter().position(|row| row.place == end).expect("the scan ends at a row"),
        None => rows.len(),
    };
    let expected: Vec<&T> = rows[..seen].iter().filter_map(|row| row.shown.as_ref()).collect();
    assert!(page.items.iter().eq(expected.iter().copied()), "{what}\ninstead of {expected:?}");
    let in_range = rows[..seen].iter().filter(|row| row.is_in_range).count();
    assert!(in_range <= scan, "it looked at too much; {what}");
    match page.scanned_to {
        Some(_) => {
            assert!(!is_full, "the page is full; {what}");
            assert!(seen >= scan, "the scan ended early; {what}");
            Some(seen)
        }
        None if is_full => Some(seen),
        None => {
            assert!(
                in_range < scan,
                "whoever has looked at all that was asked for cannot know the end; {what}"
            );
            None
        }
    }
}
