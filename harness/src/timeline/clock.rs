//! How the guest's clock and the host's belong together.
//!
//! A request and its answer bound the moment of the guest's stamp: it lies between sending and arrival on the host. The
//! middle is the best guess, half the round trip its greatest error (Cristian, "Probabilistic clock synchronization",
//! 1989). The shortest of several trips counts. Between two such ties the clocks are taken to run evenly.

use std::time::Instant;

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tie {
    /// on the host
    pub host: Instant,
    /// on the guest: CLOCK_BOOTTIME, ns
    pub guest_ns: u64,
    /// greatest error, ns: half the round trip
    pub error_ns: u64,
}

impl Tie {
    /// Of a round trip.
    pub fn of(sent: Instant, guest_ns: u64, arrived: Instant) -> Self {
        let half = arrived.saturating_duration_since(sent) / 2;
        Self { host: sent + half, guest_ns, error_ns: u64::try_from(half.as_nanos()).unwrap_or(u64::MAX) }
    }
}

/// The relation, from the ties that could be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    first: Tie,
    last: Tie,
}

impl Clock {
    /// From one tie at least.
    pub fn new(ties: &[Tie]) -> Option<Self> {
        let first = ties.iter().min_by_key(|t| t.host)?;
        let last = ties.iter().max_by_key(|t| t.host)?;
        Some(Self { first: *first, last: *last })
    }

    /// The guest's time, in ns, at a moment of the host's. Before the first tie and after the last one, and where there
    /// is only one, both clocks are taken to run alike.
    pub fn guest_ns(&self, at: Instant) -> i128 {
        let since = |tie: &Tie| nanoseconds(tie.host, at);
        let span = nanoseconds(self.first.host, self.last.host);
        if span == 0 || since(&self.first) <= 0 {
            return i128::from(self.first.guest_ns) + since(&self.first);
        }
        if since(&self.last) >= 0 {
            return i128::from(self.last.guest_ns) + since(&self.last);
        }
        let guest = i128::from(self.last.guest_ns) - i128::from(self.first.guest_ns);
        i128::from(self.first.guest_ns) + since(&self.first) * guest / span
    }

    /// Greatest error of [`Clock::guest_ns`] between the ties.
    pub fn error_ns(&self) -> u64 {
        self.first.error_ns.max(self.last.error_ns)
    }

    /// There is one tie only: how the clocks run apart is not known.
    pub fn drift_unknown(&self) -> bool {
        self.first.host == self.last.host
    }
}

/// From one moment to the other; negative where the other was before.
pub fn nanoseconds(from: Instant, to: Instant) -> i128 {
    let span = |a: Instant, b: Instant| i128::try_from((b - a).as_nanos()).unwrap_or(i128::MAX);
    if to >= from { span(from, to) } else { -span(to, from) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_round_trip_is_its_middle_and_half_its_length() {
        let begun = Instant::now();
        let tie = Tie::of(begun, 1_000, begun + Duration::from_nanos(300));
        assert_eq!(tie, Tie { host: begun + Duration::from_nanos(150), guest_ns: 1_000, error_ns: 150 });
    }

    #[test]
    fn clocks_run_evenly_between_ties_and_alike_outside() {
        let begun = Instant::now();
        let at = |ns| begun + Duration::from_nanos(ns);
        let tie = |host, guest_ns, error_ns| Tie { host: at(host), guest_ns, error_ns };
        // The guest's clock is one tenth too fast.
        let clock = Clock::new(&[tie(2_000, 6_100, 70), tie(1_000, 5_000, 30)]).unwrap();
        let guest: Vec<i128> = [500, 1_000, 1_500, 2_000, 2_500].map(|ns| clock.guest_ns(at(ns))).to_vec();
        assert_eq!(guest, [4_500, 5_000, 5_550, 6_100, 6_600]);
        assert_eq!((clock.error_ns(), clock.drift_unknown()), (70, false));
        let one = Clock::new(&[tie(1_000, 5_000, 30)]).unwrap();
        assert_eq!((one.guest_ns(at(3_000)), one.error_ns(), one.drift_unknown()), (7_000, 30, true));
        assert_eq!(Clock::new(&[]), None);
    }
}
