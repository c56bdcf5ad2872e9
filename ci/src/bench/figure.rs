//! A measured quantity: median, least, greatest.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// See the module.
pub(super) struct Figure {
    pub(super) median: f64,
    least: f64,
    greatest: f64,
    count: usize,
    unit: &'static str,
}

impl Figure {
    /// Of all values; there must be one at least.
    pub(super) fn of(values: impl Iterator<Item = Result<f64>>, unit: &'static str) -> Result<Self> {
        let mut all: Vec<f64> = values.collect::<Result<_>>()?;
        ensure!(!all.is_empty(), "nothing was measured");
        all.sort_by(f64::total_cmp);
        let (least, greatest) = (all[0], all[all.len() - 1]);
        Ok(Self { median: all[all.len() / 2], least, greatest, count: all.len(), unit })
    }

    pub(super) fn json(&self) -> Value {
        json!({ "median": self.median, "least": self.least, "greatest": self.greatest, "count": self.count,
                "unit": self.unit })
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = usize::from(self.greatest < 20.0) * 2;
        write!(
            f,
            "{:.digits$} {} ({:.digits$}, {:.digits$})",
            self.median, self.unit, self.least, self.greatest
        )
    }
}
