//! How long things took: percentiles.

use std::time::Duration;

/// Times in their order.
pub(crate) struct Sorted(Vec<Duration>);

impl Sorted {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many percent do not go over, by the nearest rank; nothing of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let times: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        let sorted = Sorted::new(times.clone());
        let ms = |percent| sorted.percentile(percent).as_millis();
        assert_eq!([50, 90, 99, 100].map(ms), [50, 90, 99, 100]);
        assert_eq!(Sorted::new(times[..1].to_vec()).percentile(50).as_millis(), 100);
        assert_eq!(Sorted::new(Vec::new()).percentile(100), Duration::ZERO);
    }
}
