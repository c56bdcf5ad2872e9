//! How many runs a revision needs: a sequential probability ratio test of its rate of failures. Pure.
//!
//! A. Wald, "Sequential tests of statistical hypotheses", Ann. Math. Statist. 16 (1945). Good means: runs fail at most at
//! the rate `noise`. Bad means: at the rate of the bad end, which is given, or known from runs of it; then the likelihood
//! is the mean over what these runs leave open (Wald's weight functions; here a Beta distribution, Jeffreys' prior).
//! The bounds are 1/alpha and beta, not Wald's usual approximations of them: with these the error rates hold exactly
//! (Ville's inequality for the likelihood ratio under each hypothesis), at the cost of hardly a run.

use super::tally::Tally;

/// The rate at which runs of a bad revision fail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// exactly this
    Known(f64),
    /// that of a revision that failed and passed so often
    Seen(Tally),
}

/// What a revision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// without the regression
    Good,
    /// with it
    Bad,
    /// cannot be judged
    Skip,
}

impl Mark {
    /// git's word
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Skip => "skip",
        }
    }
}

/// See the module. Runs are independent, with one rate for all runs of a revision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Test {
    /// the highest rate of failures of a good revision, above 0
    pub noise: f64,
    /// that of a bad one
    pub rate: Rate,
    /// probability at most that a good revision is called bad, and that a bad one is called good
    pub error: f64,
}

impl Test {
    /// Logarithm of the probability of these runs if the revision is bad over that if it is good.
    pub fn log_ratio(&self, seen: Tally) -> f64 {
        let (failed, clean) = (f64::from(seen.failed), f64::from(seen.clean));
        let good = times(failed, self.noise.ln()) + times(clean, (-self.noise).ln_1p());
        let bad = match self.rate {
            Rate::Known(rate) => times(failed, rate.ln()) + times(clean, (-rate).ln_1p()),
            Rate::Seen(end) => {
                let (a, b) = (f64::from(end.failed) + 0.5, f64::from(end.clean) + 0.5);
                rising(a, seen.failed) + rising(b, seen.clean) - rising(a + b, seen.failed + seen.clean)
            }
        };
        bad - good
    }

    /// The mark, once these runs decide it.
    pub fn decide(&self, seen: Tally) -> Option<Mark> {
        let (ratio, bound) = (self.log_ratio(seen), -self.error.ln());
        if ratio >= bound {
            Some(Mark::Bad)
        } else if ratio <= -bound {
            Some(Mark::Good)
        } else {
            None
        }
    }

    /// Clean runs in a row that make `seen` good: how many more are needed at the best. None if it is decided.
    ///
    /// Every clean run lowers the ratio by at least what it lowers that of a rate just above the noise, so it ends.
    pub fn clean_needed(&self, seen: Tally) -> u32 {
        let after = |more: u32| Tally { clean: seen.clean.saturating_add(more), ..seen };
        (0..=MOST).find(|more| self.decide(after(*more)).is_some()).unwrap_or(MOST)
    }

    /// Probability that the mark is wrong, with both marks as likely beforehand: what halving a history makes them.
    pub fn risk(&self, seen: Tally) -> f64 {
        1.0 / (1.0 + self.log_ratio(seen).abs().exp())
    }
}

/// A bound of [`Test::clean_needed`].
const MOST: u32 = 1 << 20;

/// 0 × -∞ is 0 here: what did not happen has no part in the likelihood.
fn times(count: f64, logarithm: f64) -> f64 {
    if count == 0.0 { 0.0 } else { count * logarithm }
}

/// Logarithm of x (x+1) … (x+n-1).
fn rising(x: f64, n: u32) -> f64 {
    if n == 0 { 0.0 } else { ln_gamma(x + f64::from(n)) - ln_gamma(x) }
}

/// Logarithm of the gamma function for x > 0: Stirling's series where it is exact enough, led there by
/// Γ(x+1) = x Γ(x).
fn ln_gamma(mut x: f64) -> f64 {
    let mut below = 1.0;
    while x < 16.0 {
        below *= x;
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * (1.0 / 1260.0 - inverse / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - f64::ln(below)
}

#[cfg(test)]
#[path = "sprt_tests.rs"]
mod tests;
