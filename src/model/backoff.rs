//! Exponential backoff, as a value: how long to wait after so many failures. Who waits, counts.

use core::time::Duration;

/// Doubles with each failure, from the first wait to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// From `first` to `most`.
    pub const fn doubling(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    /// How long to wait after one failure more than `before`: the first wait for 0.
    pub fn after(self, before: u32) -> Duration {
        let factor = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// Likewise, between three and five quarters of it, `part` being from 0 to 1: many clients do not come back at once.
    pub fn spread(self, before: u32, part: f64) -> Duration {
        self.after(before).mul_f64(0.75 + part / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_limit_and_never_overflows() {
        let backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(60));
        let seconds = |before| backoff.after(before).as_secs();
        assert_eq!([0, 1, 2, 5, 6, 31, 32, u32::MAX].map(seconds), [1, 2, 4, 32, 60, 60, 60, 60]);
        assert_eq!(backoff.spread(2, 0.0), Duration::from_secs(3));
        assert_eq!(backoff.spread(2, 1.0), Duration::from_secs(5));
    }
}
