//! One scenario from boot to verdict.

use super::engine::Engine;
use super::guest::{Guest, channel_trouble};
use super::host::Host;
use super::judge::{Context, Judge};
use super::plan::Planned;
use super::spec;
use super::trouble::Trouble;
use crate::event::{BlockFact, Facts, Kind, ScenarioEnd};
use crate::finding::Finding;
use crate::verdict::{self, Complaint, Provokes, Purpose, Verdict, triage};
use crate::vm::{Deadline, StartError, Vm};
use std::time::{Duration, Instant};
use wire::{Ask, Hello};

/// Time for a guest to boot and answer, before scaling.
const BOOT: Duration = Duration::from_secs(90);
/// Boots of one scenario at most: an emulator's fault is tried again, and three in a row are the kernel's.
const BOOTS: u32 = 3;

/// What is left of a scenario for its folder.
#[derive(Debug, Clone, Default)]
pub struct Remains {
    /// console.log
    pub console: String,
    /// qmp.log
    pub qmp: String,
    /// agent.log
    pub agent: String,
    /// qemu.args
    pub qemu: String,
}

/// Why a guest does not answer for the first time.
enum NoBoot {
    /// no attempt can work: the host's or the caller's fault
    Trouble(Trouble),
    /// this attempt failed; another may not
    Again { reason: String, remains: Remains, complaints: Vec<Complaint> },
}

/// Runs `planned` and logs what happens; the last entry is its judgement.
pub fn run(host: &Host, planned: &Planned, log: &mut dyn FnMut(Kind)) -> (ScenarioEnd, Remains) {
    let begun = Instant::now();
    log(Kind::ScenarioStart { kernel: planned.kernel.name.clone(), repeat: planned.repeat_line(host) });
    let (mut end, remains) = match boot(host, planned, log) {
        Ok((vm, hello)) => steps(host, planned, vm, hello, log),
        Err(NoBoot::Trouble(trouble)) => {
            (ended(&[], &[], Some(&trouble), Facts::default()), Remains::default())
        }
        Err(NoBoot::Again { reason, remains, complaints }) => {
            let mut end = ended(&[], &complaints, None, Facts::default());
            end.verdict = Verdict::Fail;
            end.title = format!("does not boot: {reason}");
            end.boot = Some("cold".into());
            (end, remains)
        }
    };
    end.duration_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
    (end, remains)
}

fn boot(host: &Host, planned: &Planned, log: &mut dyn FnMut(Kind)) -> Result<(Vm, Hello), NoBoot> {
    let mut attempt = 1;
    loop {
        match boot_once(host, planned) {
            Err(NoBoot::Again { reason, .. }) if attempt < BOOTS => {
                log(Kind::Retry { reason });
                attempt += 1;
            }
            other => return other,
        }
    }
}

fn boot_once(host: &Host, planned: &Planned) -> Result<(Vm, Hello), NoBoot> {
    if host.interrupted() {
        return Err(NoBoot::Trouble(Trouble::Interrupted));
    }
    let spec = spec::of(host, planned).map_err(NoBoot::Trouble)?;
    let vm = Vm::start(spec).map_err(|e: StartError| NoBoot::Trouble(Trouble::Miss(e.to_string())))?;
    let _guard = host.watch_over(&vm);
    let deadline = Deadline::within(BOOT.mul_f64(host.scale));
    match vm.channel().hello(deadline) {
        Ok(hello) => Ok((vm, hello)),
        Err(_) if host.interrupted() => Err(NoBoot::Trouble(Trouble::Interrupted)),
        Err(error) => {
            vm.console().wait_quiet(Duration::from_millis(500), Deadline::within(Duration::from_secs(5)));
            let complaints = triage(vm.console().text().as_bytes(), &Provokes::default());
            let reason = match complaints.iter().find(|c| c.fatal).or(complaints.first()) {
                Some(complaint) => complaint.title.clone(),
                None => channel_trouble(error).to_string(),
            };
            Err(NoBoot::Again { reason, remains: remains(&vm), complaints })
        }
    }
}

fn steps(
    host: &Host,
    planned: &Planned,
    vm: Vm,
    hello: Hello,
    log: &mut dyn FnMut(Kind),
) -> (ScenarioEnd, Remains) {
    let _guard = host.watch_over(&vm);
    let context = Context {
        subject: planned.subject.clone(),
        cmdline: hello.cmdline.trim_end().to_string(),
        uevents: hello.uevents,
    };
    let judge = Judge::new(context);
    let guest = Guest::new(vm, hello.page_flags);
    let mut engine = Engine::new(guest, judge, log, planned.seed, host.scale);
    let mut result = prepare(&engine.guest, host, planned)
        .and_then(|()| engine.boot(hello, planned.cold_dimms()))
        .and_then(|()| engine.steps(&planned.scenario.case.steps))
        .and_then(|()| engine.finish());
    if host.interrupted() {
        result = Err(Trouble::Interrupted);
    }
    let vm = engine.guest.vm();
    if matches!(result, Err(Trouble::Timeout { .. })) {
        vm.sysrq_diagnose(Deadline::within(Duration::from_secs(20).mul_f64(host.scale)));
    } else if result.is_err() {
        vm.console().wait_quiet(Duration::from_millis(300), Deadline::within(Duration::from_secs(3)));
    }
    let complaints = triage(vm.console().text().as_bytes(), &planned.provokes);
    let facts = facts(&engine);
    let trouble = result.err();
    let mut findings = engine.findings.clone();
    // The console's own words, where there are any, say more than the line that set off the alarm.
    let own = trouble.as_ref().and_then(Trouble::the_kernels);
    findings.extend(own.filter(|f| f.fact != "console" || complaints.is_empty()));
    let mut end = ended(&findings, &complaints, trouble.as_ref(), facts);
    end.boot = Some("cold".into());
    end.known = host.known_issue(planned, &end, &findings, &complaints);
    let remains = remains(vm);
    (end, remains)
}

/// What every guest needs before its steps: a talkative console, the modules of the case.
fn prepare(guest: &Guest, host: &Host, planned: &Planned) -> Result<(), Trouble> {
    let deadline = || Deadline::within(Duration::from_secs(30).mul_f64(host.scale));
    let channel = guest.vm().channel();
    let ask = |ask: Ask| channel.call(ask, deadline()).map_err(channel_trouble);
    ask(Ask::Write { path: "/proc/sys/kernel/printk".into(), text: "8 4 1 7".into() })?;
    for name in &planned.modules {
        ask(Ask::Module { path: format!("/modules/{name}.ko"), params: String::new() })?;
    }
    ask(crate::facts::watch(crate::facts::Blocks::Full)).map(drop)
}

fn remains(vm: &Vm) -> Remains {
    Remains {
        console: vm.console().text(),
        qmp: vm.qmp().log(),
        agent: vm.channel().log(),
        qemu: vm.proof().to_string(),
    }
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
fn ended(
    findings: &[Finding],
    complaints: &[Complaint],
    trouble: Option<&Trouble>,
    facts: Facts,
) -> ScenarioEnd {
    let trouble: Vec<_> = trouble.and_then(Trouble::not_the_kernels).into_iter().collect();
    let judgement = verdict::judge(findings, complaints, &trouble, Purpose::Judge);
    let console = complaints.iter().flat_map(|c| c.excerpt.iter().cloned()).take(40).collect();
    ScenarioEnd { facts, console, ..ScenarioEnd::without_run(judgement.verdict, &judgement.title) }
}
