//! Steps that hold memory, run programs and repeat steps.

use super::super::proof::Free;
use super::*;
use crate::facts::drift;

/// A hold that has not taken all yet.
#[derive(Debug)]
pub(super) struct Begun {
    job: u64,
    size: String,
    free: Free,
    asked: u64,
    /// the kernel may not refuse it
    refusal: bool,
}

impl Engine<'_> {
    pub(super) fn hold(&mut self, hold: &schema::Hold) -> Result<(), Trouble> {
        let deadline = self.deadline(Some("120s"))?;
        let free = self.guest.free(deadline)?;
        let amount = units::amount(&hold.size).map_err(Trouble::Error)?;
        let none = || Trouble::Error(format!("hold {}: {} is nothing: {free:?}", hold.name, hold.size));
        let asked = asked(amount, free).ok_or_else(none)?;
        let pace = hold.pace.as_deref().map(units::size).transpose().map_err(Trouble::Error)?;
        let job = Job::Hold(wire::Hold {
            kind: kind_of(hold.kind),
            bytes: asked,
            seed: self.seed,
            oom_score_adj: 0,
            busy: hold.busy,
            cgroup: None,
            pace,
        });
        let job = self.guest.start(job, deadline)?;
        let refusal = matches!(hold.kind, schema::HoldKind::Accounted | schema::HoldKind::Placed);
        self.begun.insert(hold.name.clone(), Begun { job, size: hold.size.clone(), free, asked, refusal });
        if hold.begin {
            return Ok(());
        }
        self.taken(&hold.name, deadline)?;
        if let Some(reaches) = &hold.reaches {
            self.reaches(&hold.name, job, reaches, deadline)?;
        }
        self.settle()
    }

    pub(super) fn held(&mut self, name: &str) -> Result<(), Trouble> {
        let deadline = self.deadline(Some("120s"))?;
        self.taken(name, deadline)?;
        self.settle()
    }

    /// Waits until a hold has all that it asked for. Death is a fact about the kernel, and so is a refusal of
    /// what may not be refused; every other failure is the test's.
    fn taken(&mut self, name: &str, deadline: Deadline) -> Result<(), Trouble> {
        let unknown = || Trouble::Error(format!("no hold is begun as {name}"));
        let Begun { job, size, free, asked, refusal } = self.begun.remove(name).ok_or_else(unknown)?;
        let name = name.to_string();
        match self.guest.wait_job(job, deadline)?.result {
            Ok(JobOutcome::Held { bytes, .. }) if bytes >= asked => {
                self.holds.insert(name.clone(), job);
                let (free, available) = (free.free, free.available);
                self.observe(Observation::Held(Held { name, size, free, available, asked, bytes }))
            }
            Ok(other) => Err(Trouble::Error(format!("hold {name}: asked {asked} bytes, got {other:?}"))),
            Err(failure) if failure.why.contains("was killed by signal 9") => {
                self.observe(Observation::HolderDied { name, why: failure.why, dies: None })
            }
            Err(failure) if refusal && failure.errno != 0 => {
                let errno = errno::name(failure.errno);
                self.observe(Observation::HoldRefused { name, why: format!("{}: {errno}", failure.why) })
            }
            Err(failure) => Err(Trouble::Error(format!("hold {name}: {}", failure.why))),
        }
    }

    pub(super) fn reaches(
        &mut self,
        name: &str,
        id: u64,
        selection: &str,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let frames = self.guest.frames(id, deadline)?;
        for block in self.blocks(selection, Order::AsGiven)? {
            let pfns = self.judge.pfns(block);
            if self.judge.is_online(block) && !frames.iter().any(|(a, b)| *a < pfns.end && *b >= pfns.start) {
                return Err(Trouble::Error(format!(
                    "hold {name} has no page in memory{block}: the case shows nothing"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn release(&mut self, name: &str, dies: Option<schema::Dies>) -> Result<(), Trouble> {
        let unknown = || Trouble::Error(format!("nothing named {name:?} is held"));
        let job = self.holds.remove(name).ok_or_else(unknown)?;
        let deadline = self.deadline(Some("120s"))?;
        let observed = match self.guest.verify(job, deadline)? {
            Ok((pages, wrong)) => Observation::Verified { name: name.to_string(), pages, wrong, dies },
            Err(why) => Observation::HolderDied { name: name.to_string(), why, dies },
        };
        let died = matches!(observed, Observation::HolderDied { .. });
        self.observe(observed)?;
        if !died {
            self.guest.release(job, deadline)?;
        }
        self.settle()
    }

    pub(super) fn exec(&mut self, exec: &schema::Exec) -> Result<(), Trouble> {
        let within = self.span(Some(&exec.within))?;
        let end = self.guest.exec(&exec.program, &exec.args, self.span(None)?, within)?;
        let Ok(JobOutcome::Exited { status, timed_out, stdout, stderr }) = end else {
            return Err(Trouble::Error(format!("{} did not run: {end:?}", exec.program)));
        };
        self.observe(Observation::Exec(Exec {
            program: exec.program.clone(),
            status,
            timed_out,
            stdout,
            stderr,
            want_status: exec.status,
            want_stdout: exec.stdout.clone(),
        }))?;
        self.settle()
    }

    pub(super) fn repeat(&mut self, repeat: &schema::Repeat) -> Result<(), Trouble> {
        let caches = if repeat.flat { self.guest.slab_caches(self.deadline(None)?)? } else { Vec::new() };
        let every = drift::stride(repeat.times);
        let mut samples = Vec::new();
        let (mut round, mut rounds) = (0, repeat.times);
        while round < rounds {
            round += 1;
            self.path.push(round.to_string());
            self.steps(&repeat.steps)?;
            self.path.pop();
            if repeat.flat && round % every == 0 {
                samples.push(self.guest.sample(&caches, self.deadline(None)?)?);
            }
            if round == repeat.times && drift::doubtful(&samples, every) {
                rounds = rounds.saturating_mul(2);
            }
        }
        if !repeat.flat {
            return Ok(());
        }
        let samples = samples.into_iter().map(|sample| sample.values).collect();
        self.observe(Observation::Drift { every, samples })
    }

    pub(super) fn each(&mut self, each: &schema::Each) -> Result<(), Trouble> {
        let numbers = each.numbers().map_err(Trouble::Error)?.collect();
        for number in super::super::select::arrange(numbers, each.order, self.seed) {
            self.path.push(number.to_string());
            self.steps(&each.steps_for(number).map_err(Trouble::Error)?)?;
            self.path.pop();
        }
        Ok(())
    }
}

/// Bytes of an amount, with so much free; `None` where that is nothing.
fn asked(amount: Amount, free: Free) -> Option<u64> {
    let bytes = match amount {
        Amount::Bytes(bytes) => bytes,
        Amount::Percent(percent) => free.free / 100 * percent,
        Amount::FreeBut(rest) => free.free.checked_sub(rest)?,
        Amount::AvailableBut(rest) => free.available.checked_sub(rest)?,
    };
    (bytes > 0).then_some(bytes)
}

fn kind_of(kind: schema::HoldKind) -> wire::HoldKind {
    match kind {
        schema::HoldKind::Anonymous => wire::HoldKind::Anonymous,
        schema::HoldKind::Mlocked => wire::HoldKind::Mlocked,
        schema::HoldKind::Tmpfs => wire::HoldKind::Tmpfs,
        schema::HoldKind::Slab => wire::HoldKind::Slab,
        schema::HoldKind::PageTables => wire::HoldKind::PageTables,
        schema::HoldKind::Pipe => wire::HoldKind::Pipe,
        schema::HoldKind::Huge => wire::HoldKind::Thp,
        schema::HoldKind::Large => wire::HoldKind::Large,
        schema::HoldKind::Hugetlb => wire::HoldKind::Hugetlb,
        schema::HoldKind::Spliced => wire::HoldKind::Spliced,
        schema::HoldKind::Registered => wire::HoldKind::Registered,
        schema::HoldKind::Forked => wire::HoldKind::Forked,
        schema::HoldKind::ForkedHuge => wire::HoldKind::ForkedThp,
        schema::HoldKind::HugetlbShared => wire::HoldKind::HugetlbShared,
        schema::HoldKind::HugetlbLimited => wire::HoldKind::HugetlbLimited,
        schema::HoldKind::RegisteredTmpfs => wire::HoldKind::RegisteredTmpfs,
        schema::HoldKind::RegisteredHugetlb => wire::HoldKind::RegisteredHugetlb,
        schema::HoldKind::HugeZero => wire::HoldKind::HugeZero,
        schema::HoldKind::Accounted => wire::HoldKind::Accounted,
        schema::HoldKind::Placed => wire::HoldKind::Placed,
        schema::HoldKind::Reserved => wire::HoldKind::Reserved,
        schema::HoldKind::Mergeable => wire::HoldKind::Mergeable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_what_is_free() {
        let free = Free { free: 1000, available: 800 };
        let asked = |text: &str| asked(units::amount(text).unwrap(), free);
        assert_eq!(["5", "50%", "free-40", "available-300"].map(asked), [5, 500, 960, 500].map(Some));
        assert_eq!(["0", "free-1000", "free-1001", "available-801"].map(asked), [None; 4]);
    }
}
