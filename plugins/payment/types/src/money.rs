//! Money in whole cents. There are no fractions, no negative numbers, and no sum that wraps.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// The largest number of cents: the largest integer that every JSON reader reads exactly.
pub const MAX_CENTS: u64 = (1 << 53) - 1;

/// An amount of money that moves: 1 to [`MAX_CENTS`] cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Amount(u64);

/// A sum of amounts: 0 to [`MAX_CENTS`] cents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "u64")]
pub struct Cents(u64);

impl Amount {
    /// An amount of `cents`. For constants and tests; serde reads what a client sends.
    ///
    /// # Panics
    /// If `cents` is 0 or above [`MAX_CENTS`].
    #[must_use]
    pub const fn new(cents: u64) -> Self {
        assert!(0 < cents && cents <= MAX_CENTS, "an amount has 1 to MAX_CENTS cents");
        Self(cents)
    }
}

impl TryFrom<u64> for Amount {
    type Error = String;

    fn try_from(cents: u64) -> Result<Self, String> {
        let fits = (1..=MAX_CENTS).contains(&cents);
        fits.then_some(Self(cents)).ok_or_else(|| format!("an amount has 1 to {MAX_CENTS} cents"))
    }
}

impl TryFrom<u64> for Cents {
    type Error = String;

    fn try_from(cents: u64) -> Result<Self, String> {
        (cents <= MAX_CENTS)
            .then_some(Self(cents))
            .ok_or_else(|| format!("a sum has at most {MAX_CENTS} cents"))
    }
}

impl TryFrom<Cents> for Amount {
    type Error = String;

    fn try_from(sum: Cents) -> Result<Self, String> {
        Self::try_from(sum.0)
    }
}

impl From<Amount> for Cents {
    fn from(amount: Amount) -> Self {
        Self(amount.0)
    }
}

impl Cents {
    /// Zero cents.
    pub const ZERO: Self = Self(0);

    /// The number of cents.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The sum, or `None` above [`MAX_CENTS`]. For decisions.
    #[must_use]
    pub fn checked_add(self, more: Amount) -> Option<Self> {
        // Both are below 2^53.
        Self::try_from(self.0 + more.0).ok()
    }

    /// The sum, at most [`MAX_CENTS`]. For folding events, which are facts.
    #[must_use]
    pub fn saturating_add(self, more: Amount) -> Self {
        self.checked_add(more).unwrap_or(Self(MAX_CENTS))
    }

    /// The difference, at least zero.
    #[must_use]
    pub const fn saturating_sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

impl Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Cents(self.0).fmt(f)
    }
}

/// A currency by its ISO 4217 code, for example `EUR`. Cents are hundredths of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

impl Currency {
    /// The default currency.
    pub const EUR: Self = Self(*b"EUR");
}

impl TryFrom<String> for Currency {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let code = <[u8; 3]>::try_from(text.into_bytes()).ok();
        let code = code.filter(|code| code.iter().all(u8::is_ascii_uppercase));
        code.map(Self).ok_or("a currency has three capital letters, like EUR")
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.to_string()
    }
}

impl Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_whole_number_of_cents_above_zero() {
        for json in ["1", "12345", "9007199254740991"] {
            let amount: Amount = serde_json::from_str(json).expect("it is an amount");
            assert_eq!(serde_json::to_string(&amount).expect("it is written"), json);
        }
        for json in [
            "0",
            "-0",
            "-1",
            "1.0",
            "1e2",
            "0.1",
            "9007199254740992",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "1e400",
            r#""100""#,
            "true",
            "null",
            "[1]",
            "NaN",
        ] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn sums_end_at_the_most_there_is() {
        let (one, most) = (Amount::new(1), Amount::new(MAX_CENTS));
        assert_eq!(Cents::ZERO.checked_add(most), Some(most.into()));
        assert_eq!(Cents::from(most).checked_add(one), None);
        assert_eq!(Cents::from(most).checked_add(most), None);
        assert_eq!(Cents::from(one).saturating_add(most), most.into());
        assert_eq!(Cents::from(one).saturating_sub(most.into()), Cents::ZERO);
        assert!(Amount::try_from(Cents::ZERO).is_err());
        assert!(serde_json::from_str::<Cents>("9007199254740992").is_err());
    }

    #[test]
    fn money_is_shown_as_people_write_it() {
        for (cents, text) in [(1, "0.01"), (100, "1.00"), (12_345, "123.45")] {
            assert_eq!(Amount::new(cents).to_string(), text);
        }
        assert_eq!(Cents::ZERO.to_string(), "0.00");
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        let json = r#""EUR""#;
        let currency: Currency = serde_json::from_str(json).expect("it is a currency");
        assert_eq!(
            (currency, serde_json::to_string(&currency).expect("it is written")),
            (Currency::EUR, json.into())
        );
        for json in [r#""eur""#, r#""EU""#, r#""EURO""#, r#""€""#, r#""""#, "978", "null"] {
            assert!(serde_json::from_str::<Currency>(json).is_err(), "{json}");
        }
    }
}
