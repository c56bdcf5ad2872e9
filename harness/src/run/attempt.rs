//! One scenario from boot to verdict.

use super::boot::{self, Dead, NoBoot, Remains, starved};
use super::engine::Engine;
use super::guest::Guest;
use super::host::{BootMode, Host};
use super::judge::{Context, Judge};
use super::plan::Planned;
use super::rejudge;
use super::spec;
use super::templates::{self, Note, Place, Saved};
use super::trouble::{Trouble, channel_trouble};
use crate::event::{BlockFact, Evidence, Facts, Kind, Messages, ScenarioEnd};
use crate::finding::Finding;
use crate::verdict::{self, Verdict, triage};
use crate::vm::template::Template;
use crate::vm::{Deadline, Ram, Spec, Vm};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::{Ask, Hello};

/// Time for a guest to be restored and answer, before scaling.
const RESTORE: Duration = Duration::from_secs(30);

/// How a scenario's guest comes up.
#[derive(Debug, Clone)]
pub enum Start {
    /// it boots
    Cold,
    /// it is restored
    Fork(Arc<Saved>),
    /// the boot that it would make was made for all that share it, three times, and never answered
    Dead(Arc<Dead>),
    /// not at all: it may only be restored, and there is no template, for this reason
    Missed(String),
}

/// A guest that has answered.
struct Booted {
    vm: Vm,
    hello: Hello,
    /// the template that it was restored from
    fork_of: Option<Arc<Saved>>,
}

/// Runs `planned` and logs what happens; the last entry is its judgement.
pub fn run(
    host: &Host,
    planned: &Planned,
    start: &Start,
    log: &mut dyn FnMut(Kind),
) -> (ScenarioEnd, Remains) {
    let begun = Instant::now();
    log(Kind::ScenarioStart { kernel: planned.kernel.name.clone(), repeat: planned.repeat_line(host) });
    let booted = match start {
        Start::Cold => boot(host, planned, log),
        Start::Fork(saved) => restore(host, planned, saved, log),
        Start::Dead(dead) => Err(NoBoot::Again(Box::new(Dead::clone(dead)))),
        Start::Missed(reason) => Err(NoBoot::Trouble(Trouble::Miss(reason.clone()))),
    };
    let answered = booted.is_ok().then(|| nanoseconds(begun));
    let (mut end, remains) = match booted {
        Ok(booted) => steps(host, planned, booted, log),
        Err(NoBoot::Trouble(trouble)) => {
            let evidence = Evidence { trouble: trouble.not_the_kernels(), ..Evidence::default() };
            (ended(&[], &evidence, Facts::default()), Remains::default())
        }
        Err(NoBoot::Again(dead)) => {
            let Dead { reason, remains, complaints } = *dead;
            let evidence = Evidence { complaints, ..Evidence::default() };
            let mut end = ended(&[], &evidence, Facts::default());
            end.verdict = Verdict::Fail;
            end.title = format!("does not boot: {reason}");
            end.boot = Some("cold".into());
            (end, remains)
        }
    };
    (end.duration_ns, end.boot_ns) = (nanoseconds(begun), answered);
    (end, remains)
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Makes the template that `planned` and its like start from: boots, prepares, saves.
///
/// # Errors
/// It could not be made, for a reason that is the host's, or that each scenario is to meet itself.
pub fn build(
    host: &Host,
    planned: &Planned,
    place: Place,
    log: &mut dyn FnMut(Kind),
) -> Result<Start, String> {
    let (vm, hello) = match boot_with(host, planned, &Ram::Shared(place.dir().to_path_buf()), log) {
        Ok(up) => up,
        Err(NoBoot::Again(dead)) => {
            place.failed();
            return Ok(Start::Dead(Arc::new(*dead)));
        }
        Err(NoBoot::Trouble(trouble)) => {
            place.failed();
            return Err(trouble.to_string());
        }
    };
    let saved = save(host, planned, vm, &hello, &place);
    let saved = saved.and_then(|t| templates::complaint(t.console()).map_or(Ok(t), Err));
    match saved {
        Ok(template) => {
            let saved = place.built(host, template, hello).map_err(|e| e.to_string())?;
            Ok(Start::Fork(Arc::new(saved)))
        }
        Err(why) => {
            place.failed();
            Err(why)
        }
    }
}

/// How a scenario begins whose template is not to be had; `reason` is told.
pub fn without_template(boot: BootMode, reason: &str, log: &mut dyn FnMut(Kind)) -> Start {
    if boot == BootMode::Fork {
        return Start::Missed(format!("no template: {reason}"));
    }
    log(Kind::Retry { reason: format!("no template, the guests boot: {reason}") });
    Start::Cold
}

fn save(host: &Host, planned: &Planned, vm: Vm, hello: &Hello, place: &Place) -> Result<Template, String> {
    let _guard = host.watch_over(&vm);
    prepare(&vm, host, planned).map_err(|t| t.to_string())?;
    let note = serde_json::to_value(Note { hello: hello.clone() }).map_err(|e| e.to_string())?;
    let deadline = Deadline::within(Duration::from_secs(60).mul_f64(host.scale));
    vm.save_template(place.dir(), note, deadline).map_err(|e| e.to_string())
}

/// Restores a guest; one that does not answer is booted instead, and that is told.
fn restore(
    host: &Host,
    planned: &Planned,
    saved: &Arc<Saved>,
    log: &mut dyn FnMut(Kind),
) -> Result<Booted, NoBoot> {
    if host.interrupted() {
        return Err(NoBoot::Trouble(Trouble::Interrupted));
    }
    let reason = match fork(host, planned, saved) {
        Ok(vm) => return Ok(Booted { vm, hello: saved.hello.clone(), fork_of: Some(Arc::clone(saved)) }),
        Err(_) if host.interrupted() => return Err(NoBoot::Trouble(Trouble::Interrupted)),
        Err(reason) => reason,
    };
    if host.boot == BootMode::Fork {
        return Err(NoBoot::Trouble(Trouble::Miss(format!("the guest was not restored: {reason}"))));
    }
    log(Kind::Retry { reason: format!("the guest was not restored: {reason}") });
    boot(host, planned, log)
}

fn fork(host: &Host, planned: &Planned, saved: &Saved) -> Result<Vm, String> {
    let spec = spec::of(host, planned).map_err(|t| t.to_string())?;
    let deadline = Deadline::within(RESTORE.mul_f64(host.scale));
    let vm = saved.template.fork(spec, deadline).map_err(|e| e.to_string())?;
    let _guard = host.watch_over(&vm);
    let mut seed = [0; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).map_err(|e| e.to_string())?;
    let reseed = Ask::Reseed { base64: wire::base64::encode(&seed) };
    vm.channel().call(reseed, deadline).map_err(|e| e.to_string())?;
    Ok(vm)
}

fn boot(host: &Host, planned: &Planned, log: &mut dyn FnMut(Kind)) -> Result<Booted, NoBoot> {
    let (vm, hello) = boot_with(host, planned, &Ram::Private, log)?;
    Ok(Booted { vm, hello, fork_of: None })
}

fn boot_with(
    host: &Host,
    planned: &Planned,
    ram: &Ram,
    log: &mut dyn FnMut(Kind),
) -> Result<(Vm, Hello), NoBoot> {
    let mut spec = || {
        if let Ram::Shared(dir) = ram {
            templates::make_empty(dir).map_err(|e| Trouble::Miss(e.to_string()))?;
        }
        spec::of(host, planned).map(|spec| Spec { ram: ram.clone(), ..spec })
    };
    boot::boot(host, &mut spec, log)
}

fn steps(
    host: &Host,
    planned: &Planned,
    booted: Booted,
    log: &mut dyn FnMut(Kind),
) -> (ScenarioEnd, Remains) {
    let Booted { vm, hello, fork_of } = booted;
    let _guard = host.watch_over(&vm);
    let context = Context {
        subject: planned.subject.clone(),
        cmdline: hello.cmdline.trim_end().to_string(),
        uevents: hello.uevents,
    };
    let judge = Judge::new(context);
    let guest = Guest::new(vm, hello.page_flags);
    let mut engine = Engine::new(guest, judge, log, planned.seed, host.scale);
    engine.said_before(fork_of.as_ref().map_or("", |saved| saved.template.console()));
    // A restored guest was prepared before it was saved.
    let prepared = if fork_of.is_some() { Ok(()) } else { prepare(engine.guest.vm(), host, planned) };
    let at_boot = engine.guest.vm().console().text().len();
    let mut result = prepared
        .and_then(|()| engine.boot(hello, planned.cold_dimms(), (planned.cpu_nodes(), planned.nodes())))
        .and_then(|()| planned.scenario.case.udev.as_ref().map_or(Ok(()), |u| engine.user_space_begins(u)))
        .and_then(|()| engine.steps(&planned.scenario.case.steps))
        .and_then(|()| engine.finish());
    if host.interrupted() {
        result = Err(Trouble::Interrupted);
    }
    let late =
        matches!(result, Err(Trouble::Timeout { .. })) || engine.findings.iter().any(|f| f.fact == "within");
    let vm = engine.guest.vm();
    let missed = starved(vm).filter(|_| late);
    let starved = missed.is_some();
    if matches!(result, Err(Trouble::Timeout { .. })) {
        vm.sysrq_diagnose(Deadline::within(Duration::from_secs(20).mul_f64(host.scale)));
    } else if result.is_err() {
        vm.console().wait_quiet(Duration::from_millis(300), Deadline::within(Duration::from_secs(3)));
    }
    // Of a restored guest's console, what the template's guest said comes first: a warning at boot is every fork's.
    let mut remains = Remains::of(vm, fork_of.as_ref().map_or("", |saved| saved.template.console()));
    let complaints = triage(remains.console.as_bytes(), &planned.provokes);
    if let Some(missed) = missed {
        result = Err(missed);
    }
    let trouble = result.err();
    let evidence = Evidence {
        complaints,
        messages: Some(Box::new(messages(vm, fork_of.as_deref(), at_boot))),
        trouble: trouble.as_ref().and_then(Trouble::not_the_kernels),
        own: trouble.as_ref().and_then(Trouble::the_kernels),
        starved,
    };
    let findings = rejudge::all_findings(&engine.findings, &evidence);
    let mut end = ended(&findings, &evidence, facts(&engine));
    end.boot = Some(if fork_of.is_some() { "fork" } else { "cold" }.into());
    if let Some(known) = &host.known {
        rejudge::tell_known(known, &planned.id, &planned.subject, &mut end, &findings, &evidence);
    }
    remains.trail = std::mem::take(&mut engine.trail);
    remains.trail.end(engine.judge());
    remains.timeline = engine.timeline();
    drop(engine);
    if let Some(timeline) = &remains.timeline {
        log(Kind::Timeline(timeline.clone()));
    }
    log(Kind::Evidence(evidence));
    (end, remains)
}

/// What every guest is asked before its steps: a talkative console, the modules of the case, what to read for a snapshot.
/// A template is saved after it, so that it is a part of the template's key.
pub(super) fn preparation(modules: &[String]) -> Vec<Ask> {
    let console = Ask::Write { path: "/proc/sys/kernel/printk".into(), text: "8 4 1 7".into() };
    let module = |name| Ask::Module { path: format!("/modules/{name}.ko"), params: String::new() };
    let modules = modules.iter().map(module);
    let watch = crate::facts::watch();
    std::iter::once(console).chain(modules).chain([watch]).collect()
}

fn prepare(vm: &Vm, host: &Host, planned: &Planned) -> Result<(), Trouble> {
    let deadline = || Deadline::within(Duration::from_secs(30).mul_f64(host.scale));
    for ask in preparation(&planned.modules) {
        vm.channel().call(ask, deadline()).map_err(channel_trouble)?;
    }
    Ok(())
}

/// What the console said while booting (a restored guest: its template's) and afterwards.
fn messages(vm: &Vm, fork_of: Option<&Saved>, at_boot: usize) -> Messages {
    let said = vm.console().text();
    let (boot, steps) = said.split_at_checked(at_boot).unwrap_or(("", &said));
    let boot = fork_of.map_or("", |saved| saved.template.console()).to_string() + boot;
    let distinct = |text: &str| verdict::messages(text.as_bytes());
    Messages { boot: distinct(&boot), steps: distinct(steps) }
}

/// Facts by which two runs are compared.
fn facts(engine: &Engine<'_>) -> Facts {
    let judge = engine.judge();
    let Some(now) = judge.now() else { return Facts::default() };
    let hot = now.blocks.iter().filter(|(number, _)| judge.is_hot(**number));
    let fact = |b: &crate::facts::BlockFacts| BlockFact {
        state: b.state.word().into(),
        zone: super::plain::zone(b).map(|z| z.name().to_string()),
    };
    Facts {
        blocks: hot.map(|(number, b)| (number.to_string(), fact(b))).collect(),
        unplug: engine.unplugs.clone(),
        memtotal_kib: now.meminfo.get("MemTotal").copied(),
    }
}

/// The judgement, but for what only the caller knows.
fn ended(findings: &[Finding], evidence: &Evidence, facts: Facts) -> ScenarioEnd {
    let judgement = rejudge::judgement(findings, evidence);
    let console = evidence.complaints.iter().flat_map(|c| c.excerpt.iter().cloned()).take(40).collect();
    ScenarioEnd { facts, console, ..ScenarioEnd::without_run(judgement.verdict, &judgement.title) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_template_guests_boot_unless_they_may_only_be_restored() {
        for (boot, start, told) in [
            (BootMode::Auto, "Cold", Some("no template, the guests boot: full")),
            (BootMode::Fork, "Missed(\"no template: full\")", None),
        ] {
            let mut all = Vec::new();
            let got = without_template(boot, "full", &mut |kind| all.push(kind));
            let reason = |told: &str| Kind::Retry { reason: told.into() };
            assert_eq!((format!("{got:?}"), all), (start.into(), told.map(reason).into_iter().collect()));
        }
    }
}
