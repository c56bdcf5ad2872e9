//! Where in a case something happened: numbers of steps, in their order.

use serde::{Serialize, Serializer};
use std::fmt;

/// `0` the boot, `3.17.1` within repeats, `end`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(Vec<u32>);

impl Step {
    /// From an event. What is no number comes behind all numbers.
    pub fn new(text: &str) -> Self {
        Self(text.split('.').map(|part| part.parse().unwrap_or(u32::MAX)).collect())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            match part {
                &u32::MAX => write!(f, "{dot}end")?,
                part => write!(f, "{dot}{part}")?,
            }
        }
        Ok(())
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn in_the_order_of_the_case() {
        let mut steps = ["end", "10", "2.1", "2", "0", "2.10", "2.9"].map(Step::new);
        steps.sort();
        assert_eq!(steps.map(|s| s.to_string()), ["0", "2", "2.1", "2.9", "2.10", "10", "end"]);
    }
}
