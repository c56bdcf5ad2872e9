//! Steps that hold memory, run programs and repeat steps.

use super::*;

impl Engine<'_> {
    pub(super) fn hold(&mut self, hold: &schema::Hold) -> Result<(), Trouble> {
        let deadline = self.deadline(Some("120s"))?;
        let bytes = match units::amount(&hold.size).map_err(Trouble::Error)? {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => self.guest.mem_free(deadline)? / 100 * percent,
        };
        let job = Job::Hold(wire::Hold {
            kind: kind_of(hold.kind),
            bytes,
            seed: self.seed,
            oom_score_adj: 0,
            busy: hold.busy,
            cgroup: None,
        });
        let id = self.guest.start(job, deadline)?;
        let end = self.guest.wait_job(id, deadline)?;
        match end.result {
            Ok(JobOutcome::Held { bytes: held, .. }) if held >= bytes => {}
            Ok(other) => {
                return Err(Trouble::Error(format!(
                    "hold {}: asked {bytes} bytes, got {other:?}",
                    hold.name
                )));
            }
            Err(failure) => return Err(Trouble::Error(format!("hold {}: {}", hold.name, failure.why))),
        }
        self.holds.insert(hold.name.clone(), id);
        if let Some(reaches) = &hold.reaches {
            self.reaches(&hold.name, id, reaches, deadline)?;
        }
        self.settle()
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

    pub(super) fn release(&mut self, name: &str) -> Result<(), Trouble> {
        let unknown = || Trouble::Error(format!("nothing named {name:?} is held"));
        let job = self.holds.remove(name).ok_or_else(unknown)?;
        let deadline = self.deadline(Some("120s"))?;
        let observed = match self.guest.verify(job, deadline)? {
            Ok((pages, wrong)) => Observation::Verified { name: name.to_string(), pages, wrong },
            Err(why) => Observation::HolderDied { name: name.to_string(), why },
        };
        self.observe(observed)?;
        self.guest.release(job, deadline)?;
        self.settle()
    }

    pub(super) fn exec(&mut self, exec: &schema::Exec) -> Result<(), Trouble> {
        let deadline = self.deadline(Some(&exec.within))?;
        let end = self.guest.exec(&exec.program, &exec.args, deadline)?;
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
        let every = crate::facts::drift::stride(repeat.times);
        let mut samples = Vec::new();
        for round in 1..=repeat.times {
            self.path.push(round.to_string());
            self.steps(&repeat.steps)?;
            self.path.pop();
            if repeat.flat && round % every == 0 {
                samples.push(self.guest.sample(&caches, self.deadline(None)?)?);
            }
        }
        if repeat.flat { self.observe(Observation::Drift { every, samples }) } else { Ok(()) }
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

fn kind_of(kind: schema::HoldKind) -> wire::HoldKind {
    match kind {
        schema::HoldKind::Anonymous => wire::HoldKind::Anonymous,
        schema::HoldKind::Mlocked => wire::HoldKind::Mlocked,
        schema::HoldKind::Tmpfs => wire::HoldKind::Tmpfs,
        schema::HoldKind::Slab => wire::HoldKind::Slab,
        schema::HoldKind::PageTables => wire::HoldKind::PageTables,
        schema::HoldKind::Pipe => wire::HoldKind::Pipe,
        schema::HoldKind::Huge => wire::HoldKind::Thp,
        schema::HoldKind::Hugetlb => wire::HoldKind::Hugetlb,
        schema::HoldKind::Spliced => wire::HoldKind::Spliced,
        schema::HoldKind::Mergeable => wire::HoldKind::Mergeable,
    }
}
