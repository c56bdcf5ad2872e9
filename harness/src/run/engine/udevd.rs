//! udevd in the guest: starting it, hurting it, and knowing when it has worked off what it was told.
//!
//! `udevadm settle` answers when every event that the kernel had sent before is handled: nothing is waited for by the clock.

use super::*;
use wire::Manner;

/// Numbers of signals (signal(7), x86).
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const SIGKILL: i32 = 9;
/// Directory of a block, but for its number.
const BLOCK: &str = "/sys/devices/system/memory/memory";
const UDEVADM: &str = "/usr/bin/udevadm";
/// Names of udevd's processes.
const NAMES: [&str; 3] = ["systemd-udevd", "(udev-worker)", "udevadm"];

/// udevd, and what it has been told of and has not handled.
#[derive(Debug)]
pub(super) struct Udevd {
    /// what its rules write
    word: Option<&'static str>,
    nice: i32,
    /// the job, while it lives
    job: Option<u64>,
    stopped: bool,
    announced: Vec<String>,
    /// blocks with a synthetic `add`
    added: Vec<u32>,
    triggered: bool,
}

impl Udevd {
    /// The kernel announces the blocks of a DIMM: to udevd if there is one, running or stopped.
    pub(super) fn announced(&mut self, dimm: &str) {
        if self.job.is_some() {
            self.announced.push(dimm.to_string());
        }
    }

    /// Was it told of this DIMM, and has not handled that yet?
    pub(super) fn owes(&self, dimm: &str) -> bool {
        self.announced.iter().any(|announced| announced == dimm)
    }

    /// Somebody wrote `text` to the file at `path`: for `add` to a block's `uevent`, udevd sees it added.
    pub(super) fn written(&mut self, path: &str, text: &str) {
        let block = path.strip_prefix(BLOCK).and_then(|rest| rest.strip_suffix("/uevent"));
        let block = block.and_then(|number| number.parse::<u32>().ok());
        if self.job.is_some() && text.split_whitespace().next() == Some("add") {
            self.added.extend(block);
        }
    }
}

impl Engine<'_> {
    /// Starts udevd, as the case wants it from its first step on.
    ///
    /// # Errors
    /// [`Trouble`]: it does not run.
    pub fn user_space_begins(&mut self, udev: &schema::Udev) -> Result<(), Trouble> {
        self.text = "udevd starts".into();
        let rules = crate::image::rules(&udev.rules)
            .ok_or_else(|| Trouble::Error(format!("no rules {:?}", udev.rules)))?;
        let machine = crate::image::Machine::parse(&udev.machine).map_err(Trouble::Error)?;
        let udevd = Udevd {
            word: rules.word(machine),
            nice: udev.nice,
            job: None,
            stopped: false,
            announced: Vec::new(),
            added: Vec::new(),
            triggered: false,
        };
        self.udev = Some(udevd);
        let deadline = self.deadline(None)?;
        self.guest.mount("tmpfs", "/run", deadline)?;
        for (path, text) in rules.files(machine) {
            self.guest.put(path, 0o644, text.as_bytes(), deadline)?;
        }
        self.start_udevd()
    }

    pub(super) fn udevd(&mut self, word: &str) -> Result<(), Trouble> {
        let job = self.udev.as_ref().and_then(|u| u.job);
        let running = || job.ok_or_else(|| Trouble::Error(format!("udevd does not run, it cannot {word}")));
        match word {
            "start" if job.is_some() => return Err(Trouble::Error("udevd runs already".into())),
            "start" => self.start_udevd()?,
            "stop" => self.hurt(running()?, SIGSTOP)?,
            "continue" => self.hurt(running()?, SIGCONT)?,
            "kill" => {
                self.hurt(running()?, SIGKILL)?;
                self.none_left()?;
            }
            _ => {
                running()?;
                self.udevadm(&["trigger", "--action=add", "--subsystem-match=memory"])?;
                if let Some(udev) = &mut self.udev {
                    udev.triggered = true;
                }
            }
        }
        self.settle()
    }

    /// Starts udevd and proves that it answers on its control socket.
    fn start_udevd(&mut self) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        let nice = self.udev.as_ref().map_or(0, |u| u.nice);
        // As its unit file has it, but for the workers, which udevd makes killable itself.
        let manner = Manner { nice, oom_score_adj: Some(-1000), cgroup: None };
        let job = self.guest.start_program(&["/usr/bin/systemd-udevd"], &manner, deadline)?;
        loop {
            if let Some(end) = self.guest.ended(job)? {
                return Err(Trouble::Error(format!("udevd ended: {:?}", end.result)));
            }
            // The socket of one that was killed is still there, and nobody answers.
            if self.guest.udevd_socket(deadline)?
                && self.guest.run(&[UDEVADM, "control", "--ping"], deadline)?.0 == 0
            {
                break;
            }
            if deadline.left().is_zero() {
                return Err(Trouble::Error("udevd does not answer on its control socket".into()));
            }
        }
        if let Some(udev) = &mut self.udev {
            (udev.job, udev.stopped) = (Some(job), false);
        }
        Ok(())
    }

    fn hurt(&mut self, job: u64, signal: i32) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        if !self.guest.signal(job, signal, false, deadline)? {
            return Err(Trouble::Error("udevd is not there any more".into()));
        }
        let Some(udev) = &mut self.udev else { return Ok(()) };
        match signal {
            SIGKILL => {
                (udev.job, udev.stopped) = (None, false);
                udev.announced.clear();
                udev.added.clear();
                self.guest.wait_job(job, deadline)?;
            }
            other => udev.stopped = other == SIGSTOP,
        }
        Ok(())
    }

    /// Waits until no process of udevd is left: its workers end with it, each after its present event.
    fn none_left(&mut self) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        loop {
            let processes = self.guest.processes(deadline)?;
            let left: Vec<&str> =
                processes.iter().map(|p| p.name.as_str()).filter(|n| NAMES.contains(n)).collect();
            if left.is_empty() {
                return Ok(());
            }
            if deadline.left().is_zero() {
                return Err(Trouble::Error(format!("killed udevd left {left:?}")));
            }
        }
    }

    fn udevadm(&mut self, args: &[&str]) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        let argv: Vec<&str> = std::iter::once(UDEVADM).chain(args.iter().copied()).collect();
        match self.guest.run(&argv, deadline)? {
            (0, _, _) => Ok(()),
            (status, _, stderr) => {
                Err(Trouble::Error(format!("{}: status {status}: {}", argv.join(" "), stderr.trim_end())))
            }
        }
    }

    /// What a running udevd has done since it was last looked at, once it is done; `None` where there was nothing to do.
    pub(super) fn user_space(&mut self) -> Result<Option<Observation>, Trouble> {
        let Some(udev) = &mut self.udev else { return Ok(None) };
        let Some(job) = udev.job.filter(|_| !udev.stopped) else { return Ok(None) };
        if udev.announced.is_empty() && udev.added.is_empty() && !udev.triggered {
            return Ok(None);
        }
        let blocks = std::mem::take(&mut udev.added);
        let announced = std::mem::take(&mut udev.announced);
        let dimms = if std::mem::take(&mut udev.triggered) { None } else { Some(announced) };
        let word = udev.word.map(str::to_string);
        let seconds = self.deadline(Some("60s"))?.left().as_secs();
        let settle = self.udevadm(&["settle", &format!("--timeout={seconds}")]);
        if let Some(end) = self.guest.ended(job)? {
            return Err(Trouble::Error(format!("udevd ended: {:?}", end.result)));
        }
        settle?;
        let settled = self.read_state()?;
        Ok(Some(Observation::UserSpace(Box::new(UserSpace { dimms, blocks, word, settled }))))
    }
}
