//! Plots of one kernel and one size: every latency by load and policy, and the heat map of medians. Pure.

use super::Clock;
use super::cell::{Load, Policy, size};
use super::sample::Sample;
use super::stats::Value;
use super::summary::{CellSummary, Summary};
use super::table::value;
use crate::svg::{Anchor, Svg};

const INK: &str = "#222222";
const GREY: &str = "#777777";
const GRID: &str = "#e2e2e2";
const NEVER: &str = "#67001f";

/// A file's name, and what is in it.
pub type Plot = (String, String);

/// All plots.
pub fn plots(summary: &Summary, samples: &[Sample]) -> Vec<Plot> {
    let mut groups: Vec<(&str, u64)> =
        summary.cells.iter().map(|c| (c.cell.kernel.as_str(), c.cell.size)).collect();
    groups.dedup();
    let one = |(kernel, bytes): (&str, u64)| {
        let cells = summary.cells.iter().filter(|c| c.cell.kernel == kernel && c.cell.size == bytes);
        let group = Group { summary, samples, kernel, bytes, cells: cells.collect() };
        let name = |what: &str| format!("{what}-{kernel}-{}.svg", size(bytes));
        [(name("latency"), group.distributions()), (name("heat"), group.heat())]
    };
    groups.into_iter().flat_map(one).collect()
}

struct Group<'a> {
    summary: &'a Summary,
    samples: &'a [Sample],
    kernel: &'a str,
    bytes: u64,
    cells: Vec<&'a CellSummary>,
}

fn colour(policy: Policy) -> &'static str {
    match policy {
        Policy::Online => "#2166ac",
        Policy::OnlineMovable => "#67a9cf",
        Policy::Udev => "#d6604d",
        Policy::UdevMovable => "#f4a582",
        Policy::Agent => "#4d9221",
    }
}

impl Group<'_> {
    fn title(&self, what: &str) -> String {
        format!("{what}: {}, DIMM of {}", self.kernel, size(self.bytes))
    }

    fn unit(&self) -> &'static str {
        match self.summary.clock {
            Clock::Host => "ms",
            Clock::Instructions => "million instructions",
        }
    }

    fn foot(&self) -> String {
        let kernel = self.summary.kernels.get(self.kernel).map_or("", String::as_str);
        let noise = match self.summary.clock {
            Clock::Host => "the host's noise is in the figures",
            Clock::Instructions => "repeats show repeatability only",
        };
        format!("{kernel}, QEMU {}, {}; {noise}", self.summary.qemu, self.summary.accel)
    }

    fn values(&self, cell: &CellSummary) -> Vec<Value> {
        self.samples.iter().filter(|s| s.cell == cell.cell).filter_map(Sample::value).collect()
    }

    /// A row a cell, a dot a trial, time to the right on a logarithmic axis.
    fn distributions(&self) -> String {
        let (width, left, right, top, row) = (900.0, 190.0, 70.0, 62.0, 17.0);
        let limit = self.summary.limit_ms as f64;
        let all: Vec<f64> = self.cells.iter().flat_map(|c| self.values(c)).flatten().map(ms).collect();
        let least = all.iter().copied().fold(limit, f64::min).max(0.01);
        let most = all.iter().copied().fold(least, f64::max);
        let (low, high) = ((least * 0.85).log10(), (most * 1.15).log10());
        let end = width - right;
        let x = |ms: f64| left + (ms.max(0.001).log10() - low) / (high - low) * (end - left);
        let gaps = self.cells.windows(2).filter(|w| w[0].cell.load != w[1].cell.load).count() as f64;
        let bottom = top + row * self.cells.len() as f64 + 8.0 * gaps;
        let mut svg = Svg::new(width, bottom + 62.0);
        svg.text((16.0, 24.0), 15.0, Anchor::Start, INK, &self.title("From plug to all blocks online"));
        let what =
            "a dot: one trial; the bar: the middle one; at the right edge: not all online within the limit";
        svg.text((16.0, 42.0), 11.0, Anchor::Start, GREY, what);
        for decade in low.floor() as i32..=high.floor() as i32 {
            for step in [1.0, 2.0, 5.0] {
                let at = step * 10f64.powi(decade);
                if at.log10() < low || at.log10() > high {
                    continue;
                }
                svg.line((x(at), top - 6.0), (x(at), bottom), GRID, 1.0);
                svg.text((x(at), bottom + 14.0), 10.0, Anchor::Middle, INK, &format!("{at}"));
            }
        }
        svg.text((width - right + 34.0, bottom + 14.0), 10.0, Anchor::Middle, NEVER, "never");
        svg.text(((left + end) / 2.0, bottom + 30.0), 11.0, Anchor::Middle, INK, self.unit());
        svg.text((16.0, bottom + 50.0), 10.0, Anchor::Start, GREY, &self.foot());
        let mut y = top + row / 2.0;
        let mut before: Option<Load> = None;
        for cell in &self.cells {
            let load = cell.cell.load;
            if before.is_some_and(|b| b != load) {
                y += 8.0;
            }
            if before != Some(load) {
                svg.text((16.0, y + 4.0), 11.0, Anchor::Start, INK, &load.to_string());
                before = Some(load);
            }
            let colour = colour(cell.cell.policy);
            svg.text((left - 8.0, y + 4.0), 10.0, Anchor::End, INK, cell.cell.policy.word());
            for (at, one) in self.values(cell).into_iter().enumerate() {
                let up = f64::from(u8::try_from(at % 3).unwrap_or(0)) * 2.5 - 2.5;
                match one {
                    Some(ns) => {
                        svg.dot((x(ms(ns)), y + up), 2.8, colour, &format!("{} {}", value(one), self.unit()))
                    }
                    None => svg.dot((width - right + 34.0, y + up), 2.8, NEVER, "never"),
                }
            }
            if let Some(Some(middle)) = cell.middle(self.samples) {
                svg.rect((x(ms(middle)) - 1.0, y - 7.0), (2.0, 14.0), INK, &value(Some(middle)));
            }
            y += row;
        }
        svg.finish()
    }

    /// Policies to the right, loads down; the figure is the middle trial.
    fn heat(&self) -> String {
        let mut policies: Vec<Policy> = self.cells.iter().map(|c| c.cell.policy).collect();
        let mut loads: Vec<Load> = Vec::new();
        self.cells.iter().for_each(|c| {
            if !loads.contains(&c.cell.load) {
                loads.push(c.cell.load)
            }
        });
        policies.sort();
        policies.dedup();
        let (left, top, wide, high) = (110.0, 84.0, 118.0, 42.0);
        let width = (left + wide * policies.len() as f64 + 30.0).max(560.0);
        let height = top + high * loads.len() as f64 + 56.0;
        let mut svg = Svg::new(width, height);
        svg.text((16.0, 24.0), 15.0, Anchor::Start, INK, &self.title("Middle trial"));
        let what = format!(
            "{} from plug to all blocks online; below: trials, share never fully online, OOM kills",
            self.unit()
        );
        svg.text((16.0, 42.0), 11.0, Anchor::Start, GREY, &what);
        let middles: Vec<f64> = self
            .cells
            .iter()
            .filter_map(|c| c.middle(self.samples))
            .flatten()
            .map(|ns| ms(ns).max(0.001).log10())
            .collect();
        let least = middles.iter().copied().fold(f64::INFINITY, f64::min);
        let most = middles.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (at, policy) in policies.iter().enumerate() {
            let x = left + wide * (at as f64 + 0.5);
            svg.text((x, top - 10.0), 11.0, Anchor::Middle, INK, policy.word());
        }
        for (down, load) in loads.iter().enumerate() {
            let y = top + high * down as f64;
            svg.text((left - 10.0, y + high / 2.0 + 4.0), 11.0, Anchor::End, INK, &load.to_string());
            for (at, policy) in policies.iter().enumerate() {
                let x = left + wide * at as f64;
                let cell = self.cells.iter().find(|c| c.cell.load == *load && c.cell.policy == *policy);
                let middle = cell.and_then(|c| c.middle(self.samples));
                let (fill, ink, figure) = match middle {
                    None => ("#f5f5f5".to_string(), GREY, "not run".to_string()),
                    Some(None) => (NEVER.to_string(), "white", "never".to_string()),
                    Some(Some(ns)) => {
                        let share = if most > least {
                            (ms(ns).max(0.001).log10() - least) / (most - least)
                        } else {
                            0.0
                        };
                        (shade(share), if share > 0.6 { "white" } else { INK }, value(Some(ns)))
                    }
                };
                svg.rect((x + 1.0, y + 1.0), (wide - 2.0, high - 2.0), &fill, "");
                let middle_of = x + wide / 2.0;
                svg.text((middle_of, y + 18.0), 13.0, Anchor::Middle, ink, &figure);
                if let Some(cell) = cell.filter(|c| c.n > 0) {
                    let never = 100.0 * cell.never as f64 / cell.n as f64;
                    let words = format!("n {}, {never:.0} %, {}", cell.n, cell.oom.1);
                    svg.text((middle_of, y + 33.0), 9.0, Anchor::Middle, ink, &words);
                }
            }
        }
        svg.text((16.0, height - 16.0), 10.0, Anchor::Start, GREY, &self.foot());
        svg.finish()
    }
}

/// From pale to dark, 0 to 1.
fn shade(share: f64) -> String {
    let (pale, dark) = ([255.0, 245.0, 235.0], [166.0, 54.0, 3.0]);
    let mix = |i: usize| pale[i] + (dark[i] - pale[i]) * share.clamp(0.0, 1.0);
    format!("#{:02x}{:02x}{:02x}", mix(0) as u8, mix(1) as u8, mix(2) as u8)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::sample::tests::sample;
    use crate::measure::summary::tests::summary_of;

    #[test]
    fn every_trial_is_a_dot_and_every_cell_a_field() {
        let samples = [
            sample(Load::Idle, Policy::Online, Some(20)),
            sample(Load::Idle, Policy::Udev, Some(90)),
            sample(Load::Idle, Policy::Udev, None),
            sample(Load::Cpu(4), Policy::Online, Some(30)),
        ];
        let plots = plots(&summary_of(&samples), &samples);
        let names: Vec<&str> = plots.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["latency-k-1G.svg", "heat-k-1G.svg"]);
        assert_eq!(plots[0].1.matches("<circle").count(), 4);
        assert!(plots[1].1.contains(">20.0<") && plots[1].1.contains(">not run<"), "{}", plots[1].1);
        assert!(plots[1].1.contains("n 2, 50 %, 0"), "{}", plots[1].1);
    }

    #[test]
    fn shades_go_from_pale_to_dark() {
        assert_eq!(
            (shade(0.0).as_str(), shade(1.0).as_str(), shade(7.0).as_str()),
            ("#fff5eb", "#a63603", "#a63603")
        );
    }
}
