//! `memhp list`: scenarios, sorted, with what becomes of them.

use super::args::{ListArgs, TextOrJson};
use super::failure::Failure;
use super::sources;
use crate::run::plan::{self, Planned};
use serde_json::json;
use std::fmt::Write as _;

/// Lists; nothing is booted, but kernels that are not in the cache are fetched.
pub fn list(args: &ListArgs) -> Result<String, Failure> {
    let kernels = sources::kernels(&args.sources.kernels, args.sources.kernels_dir.as_deref())?.all;
    let chosen = sources::scenarios(&args.patterns, &args.sources, &kernels)?;
    let met = super::subjects::of(&kernels, None)?;
    let kernels: Vec<_> = met.into_iter().map(|met| (met.kernel, met.subject)).collect();
    let plan = plan::plan(chosen, &kernels, "", 0);
    Ok(match args.format {
        TextOrJson::Text => text(&plan),
        TextOrJson::Json => json(&plan),
    })
}

fn text(plan: &[Planned]) -> String {
    plan.iter().fold(String::new(), |mut text, p| {
        let what = if p.skip.is_some() { "skip" } else { "run" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\t{what}\t{}", p.id, p.skip.as_deref().unwrap_or_default());
        text
    })
}

fn json(plan: &[Planned]) -> String {
    let one = |p: &Planned| {
        let action = if p.skip.is_some() { "skip" } else { "run" };
        json!({ "id": p.id, "action": action, "reason": p.skip, "kernel": p.kernel.name, "summary": p.scenario.case.summary })
    };
    format!("{:#}\n", serde_json::Value::Array(plan.iter().map(one).collect()))
}
