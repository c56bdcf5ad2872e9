//! A guest's boot up to the agent's first message, and what it means when that message does not come.
//!
//! A crash before the first message may be the emulator's: it is tried again, and told. Three in a row are the kernel's.

use super::host::Host;
use super::trail::Trail;
use super::trouble::{Trouble, by_itself, channel_trouble};
use crate::event::Kind;
use crate::timeline::Timeline;
use crate::verdict::{Complaint, Provokes, triage};
use crate::vm::{ChannelError, Deadline, Spec, StartError, Vm, WaitError};
use std::time::Duration;
use wire::Hello;

/// Time for a guest to boot and answer, before scaling.
const BOOT: Duration = Duration::from_secs(90);
/// Boots at most: an emulator's fault is tried again, and three in a row are the kernel's.
const BOOTS: u32 = 3;
/// A guest that has waited for a processor of the host so much of its time misses deadlines that are not its kernel's.
const STARVED: f64 = 0.8;

/// What is left of a guest for its scenario's folder.
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
    /// what happened when
    pub timeline: Option<Timeline>,
    /// what was judged, for comparing it with another run
    pub trail: Trail,
}

impl Remains {
    /// Of a guest; `before` is what stood on its console before it was restored.
    pub fn of(vm: &Vm, before: &str) -> Self {
        Self {
            console: before.to_string() + &vm.console().text(),
            qmp: vm.qmp().log(),
            agent: vm.channel().log(),
            qemu: vm.proof().to_string(),
            timeline: None,
            trail: Trail::default(),
        }
    }
}

/// A kernel that does not boot: three attempts in a row.
#[derive(Debug, Clone)]
pub struct Dead {
    /// title of what ended the last attempt
    pub reason: String,
    /// of the last attempt
    pub remains: Remains,
    /// of the last attempt's console
    pub complaints: Vec<Complaint>,
}

/// Why a guest does not answer for the first time.
pub enum NoBoot {
    /// no attempt can work: the host's or the caller's fault
    Trouble(Trouble),
    /// this attempt, the last one, failed as the ones before
    Again(Box<Dead>),
}

/// Boots until the agent has answered; `spec` is made anew for each attempt.
pub fn boot(
    host: &Host,
    spec: &mut dyn FnMut() -> Result<Spec, Trouble>,
    log: &mut dyn FnMut(Kind),
) -> Result<(Vm, Hello), NoBoot> {
    let mut attempt = 1;
    loop {
        match once(host, spec) {
            Err(NoBoot::Again(failed)) if attempt < BOOTS => {
                log(Kind::Retry { reason: failed.reason });
                attempt += 1;
            }
            // QEMU ended by a signal or an error of its own: not the kernel's fault, however often.
            Err(NoBoot::Trouble(Trouble::Gone(reason))) if attempt < BOOTS => {
                log(Kind::Retry { reason });
                attempt += 1;
            }
            other => return other,
        }
    }
}

fn once(host: &Host, spec: &mut dyn FnMut() -> Result<Spec, Trouble>) -> Result<(Vm, Hello), NoBoot> {
    if host.interrupted() {
        return Err(NoBoot::Trouble(Trouble::Interrupted));
    }
    let spec = spec().map_err(NoBoot::Trouble)?;
    let vm = Vm::start(spec).map_err(|e: StartError| NoBoot::Trouble(Trouble::Miss(e.to_string())))?;
    let _guard = host.watch_over(&vm);
    match vm.channel().hello(Deadline::within(BOOT.mul_f64(host.scale))) {
        Ok(hello) => Ok((vm, hello)),
        Err(_) if host.interrupted() => Err(NoBoot::Trouble(Trouble::Interrupted)),
        Err(error) => {
            if let ChannelError::Wait(WaitError::Gone { gone, .. }) = &error
                && !by_itself(gone)
            {
                return Err(NoBoot::Trouble(Trouble::Gone(error.to_string())));
            }
            let late = matches!(error, ChannelError::Wait(WaitError::Timeout { .. }));
            if let Some(missed) = starved(&vm).filter(|_| late) {
                return Err(NoBoot::Trouble(missed));
            }
            vm.console().wait_quiet(Duration::from_millis(500), Deadline::within(Duration::from_secs(5)));
            let complaints = triage(vm.console().text().as_bytes(), &Provokes::default());
            let reason = match complaints.iter().find(|c| c.fatal).or(complaints.first()) {
                Some(complaint) => complaint.title.clone(),
                None => channel_trouble(error).to_string(),
            };
            Err(NoBoot::Again(Box::new(Dead { reason, remains: Remains::of(&vm, ""), complaints })))
        }
    }
}

/// A guest that the host did not let run says nothing of its kernel by being late.
pub fn starved(vm: &Vm) -> Option<Trouble> {
    let percent = vm.starved().filter(|part| *part >= STARVED)? * 100.0;
    let why = format!(
        "a deadline passed while the guest waited for a processor of the host {percent:.0} % of the time"
    );
    Some(Trouble::Miss(why))
}
