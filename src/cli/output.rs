//! How results are printed: a table for people, JSON for programs.

/// Micros as whole units with two to six decimals: 7500 is 0.0075.
pub fn money(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let (units, fraction) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let digits = format!("{fraction:06}");
    let short = digits.trim_end_matches('0');
    format!("{sign}{units}.{short:0<2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_every_micro_and_at_least_two_decimals() {
        let cases =
            [(100_000_000, "100.00"), (7_500, "0.0075"), (-1, "-0.000001"), (1_500_000, "1.50"), (i64::MIN, "-9223372036854.775808")];
        for (micros, expected) in cases {
            assert_eq!(money(micros), expected);
        }
    }
}
