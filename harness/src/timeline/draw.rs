//! A timeline as a drawing: a panel a plug, a row a block, time to the right.

use super::{Block, By, Plug, Timeline};
use crate::svg::{Anchor, Svg, ticks};

const WIDTH: f64 = 900.0;
const LEFT: f64 = 110.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 64.0;
/// Of a panel, above and below its rows.
const HEAD: f64 = 34.0;
const FOOT: f64 = 40.0;
/// Rows of all panels together; what is beyond is in the event log.
const MOST_ROWS: usize = 1500;

const KERNEL: &str = "#2166ac";
const USER: &str = "#d6604d";
const USED: &str = "#1b7837";
const OPEN: &str = "#888888";
const GRID: &str = "#dddddd";
const INK: &str = "#222222";

/// The drawing; `title` names the scenario.
pub fn svg(timeline: &Timeline, title: &str) -> String {
    let mut rows = 0;
    let shown = timeline.plugs.iter().take_while(|plug| {
        rows += plug.blocks.len();
        rows <= MOST_ROWS
    });
    let shown: Vec<&Plug> = shown.collect();
    let heights: Vec<f64> =
        shown.iter().map(|plug| HEAD + row(plug) * plug.blocks.len() as f64 + FOOT).collect();
    let mut svg = Svg::new(WIDTH, TOP + heights.iter().sum::<f64>() + 24.0);
    svg.text((16.0, 24.0), 15.0, Anchor::Start, INK, title);
    let drift = if timeline.clock_drift_unknown { ", drift of the clocks not known" } else { "" };
    let error =
        format!("guest's times related to the host's: ± {:.3} ms{drift}", ms(timeline.clock_error_ns as f64));
    svg.text((16.0, 42.0), 11.0, Anchor::Start, INK, &error);
    legend(&mut svg);
    let mut top = TOP;
    for (plug, height) in shown.iter().zip(&heights) {
        panel(&mut svg, plug, top, timeline.clock_error_ns as f64);
        top += height;
    }
    let left_out = timeline.plugs.len() - shown.len();
    if left_out > 0 {
        svg.text((16.0, top + 12.0), 11.0, Anchor::Start, INK, &format!("{left_out} more in events.jsonl"));
    }
    svg.finish()
}

fn legend(svg: &mut Svg) {
    let words = [(KERNEL, "online: kernel"), (USER, "online: user space"), (OPEN, "not told apart")];
    let mut x = 480.0;
    for (colour, word) in words {
        svg.rect((x, 34.0), (10.0, 10.0), colour, "");
        svg.text((x + 14.0, 43.0), 11.0, Anchor::Start, INK, word);
        x += 135.0;
    }
}

/// Height of a row.
fn row(plug: &Plug) -> f64 {
    if plug.blocks.len() > 32 { 7.0 } else { 15.0 }
}

fn panel(svg: &mut Svg, plug: &Plug, top: f64, error: f64) {
    let all = plug.blocks.iter().flat_map(|b| [b.add_ns, b.online_ns]).flatten();
    let end = all
        .chain(plug.ost_ns)
        .chain(plug.used.map(|used| used.at_ns))
        .chain([plug.answered_ns])
        .max()
        .unwrap_or(1)
        .max(1) as f64
        * 1.06;
    let x = |ns: f64| LEFT + ns.max(0.0) / end * (WIDTH - LEFT - RIGHT);
    let (first, last) = (top + HEAD, top + HEAD + row(plug) * plug.blocks.len() as f64);
    let head = format!("plug of {}: {} blocks", plug.dimm, plug.blocks.len());
    svg.text((16.0, top + 14.0), 12.0, Anchor::Start, INK, &head);
    for tick in ticks(ms(end)) {
        let at = x(tick * 1e6);
        svg.line((at, first), (at, last + 4.0), GRID, 1.0);
        svg.text((at, last + 16.0), 10.0, Anchor::Middle, INK, &format!("{tick}"));
    }
    svg.text(
        ((LEFT + WIDTH - RIGHT) / 2.0, last + 30.0),
        10.0,
        Anchor::Middle,
        INK,
        "ms since device_add was sent",
    );
    for (at, block) in plug.blocks.iter().enumerate() {
        bar(svg, block, (first + row(plug) * at as f64, row(plug)), &x, error);
    }
    let used = plug.used.as_ref();
    if let Some((used, at)) =
        used.and_then(|u| Some((u, plug.blocks.iter().position(|b| b.block == u.block)?)))
    {
        let (at, y) = (x(used.at_ns as f64), first + row(plug) * at as f64);
        svg.line((at, y), (at, y + row(plug)), USED, 2.0);
        svg.text((at - 4.0, y - 2.0), 9.0, Anchor::End, USED, "first page in use");
    }
    mark(svg, x(plug.answered_ns as f64), (first, last), "QEMU answered");
    if let Some(ost) = plug.ost_ns {
        mark(svg, x(ost as f64), (first, last), "OST");
    }
}

fn mark(svg: &mut Svg, at: f64, (first, last): (f64, f64), word: &str) {
    svg.line((at, first - 4.0), (at, last), INK, 1.2);
    // Two words beside each other where the marks are close.
    let (anchor, at) = if word == "OST" { (Anchor::Start, at - 2.0) } else { (Anchor::End, at + 2.0) };
    let at = if matches!(anchor, Anchor::End) { at.max(LEFT + 74.0) } else { at };
    svg.text((at, first - 7.0), 10.0, anchor, INK, word);
}

fn bar(svg: &mut Svg, block: &Block, (y, height): (f64, f64), x: &dyn Fn(f64) -> f64, error: f64) {
    if height > 8.0 {
        let name = format!("memory{}", block.block);
        svg.text((LEFT - 6.0, y + height * 0.75), 10.0, Anchor::End, INK, &name);
    }
    let colour = match block.by {
        Some(By::Kernel) => KERNEL,
        Some(By::UserSpace) => USER,
        None => OPEN,
    };
    let hint = hint(block);
    let (y, height) = (y + height * 0.2, height * 0.6);
    match (block.add_ns, block.online_ns) {
        (add, Some(online)) => {
            let from = x(add.unwrap_or(online) as f64);
            let to = x(online as f64);
            svg.rect((from, y), ((to - from).max(2.0), height), colour, &hint);
            let middle = y + height / 2.0;
            svg.line((x(online as f64 - error), middle), (x(online as f64 + error), middle), INK, 1.0);
        }
        (Some(add), None) => {
            svg.rect((x(add as f64), y), (3.0, height), OPEN, &hint);
            svg.text((x(add as f64) + 6.0, y + height), 9.0, Anchor::Start, OPEN, "never came online");
        }
        (None, None) => svg.text((LEFT + 6.0, y + height), 9.0, Anchor::Start, OPEN, "never announced"),
    }
}

fn hint(block: &Block) -> String {
    let time = |ns: Option<i64>| ns.map_or("never".to_string(), |ns| format!("{:.3} ms", ms(ns as f64)));
    format!("memory{}: add {}, online {}", block.block, time(block.add_ns), time(block.online_ns))
}

fn ms(ns: f64) -> f64 {
    ns / 1e6
}
