//! `memhp predict`: state, zone and rule of each block that would be plugged.

use super::args::{PredictArgs, TextOrJson};
use super::failure::Failure;
use super::sources;
use crate::case::units;
use crate::policy::{self, OnlineType, PlugSpec, Subject};
use serde_json::json;

/// Predicts; boots nothing.
pub fn predict(args: &PredictArgs) -> Result<String, Failure> {
    let (subject, built_in) = subject(args)?;
    let memory = units::size(&args.memory).map_err(Failure::usage)?;
    let mut plugs = Vec::new();
    for size in &args.plug {
        let size = units::size(size).map_err(Failure::usage)?;
        plugs.push(PlugSpec { size, node: 0, addr: None });
    }
    let append = format!("{built_in} {}", args.append);
    let lines = policy::predict(&subject, &append, args.auto_online_blocks.as_deref(), memory, &plugs);
    let lines = lines.map_err(Failure::usage)?;
    Ok(match args.format {
        TextOrJson::Text => lines.iter().map(line).collect(),
        TextOrJson::Json => {
            let one = |l: &policy::Line| {
                json!({ "plug": l.plug, "block": l.block, "state": l.state.map(|s| s.word()), "zone": l.zone.map(|z| z.name()),
                        "rule": l.rule.rule, "text": l.rule.text, "source": l.rule.source })
            };
            format!("{:#}\n", serde_json::Value::Array(lines.iter().map(one).collect()))
        }
    })
}

fn line(line: &policy::Line) -> String {
    let block = line.block.map_or("-".to_string(), |n| n.to_string());
    let state = line.state.map_or("none", |s| s.word());
    let zone = line.zone.map_or("-", |z| z.name());
    format!("{block}\t{state}\t{zone}\t{}\n", line.rule)
}

/// The kernel, and the command line that is compiled into it if that is to count.
fn subject(args: &PredictArgs) -> Result<(Subject, String), Failure> {
    if let Some((version, default)) = args.kernel.split_once(":default=") {
        let version = version.parse().map_err(Failure::usage)?;
        let wrong = || {
            Failure::usage(format!(
                "default={default:?}: want offline, online, online_kernel or online_movable"
            ))
        };
        return Ok((Subject::usual(version, OnlineType::parse(default).ok_or_else(wrong)?), String::new()));
    }
    let kernels = sources::kernels(std::slice::from_ref(&args.kernel), args.kernels_dir.as_deref())?.all;
    let [kernel] = kernels.as_slice() else {
        return Err(Failure::usage(format!("-k {}: predict takes one kernel", args.kernel)));
    };
    let subject = super::subjects::of(&kernels, None)?.remove(0).subject;
    let config = kernel.config.as_ref().filter(|_| args.cmdline_config);
    let built_in = config.and_then(|c| c.get("CMDLINE")).unwrap_or_default();
    Ok((subject, built_in.to_string()))
}
