//! Steps that plug and unplug DIMMs.

use super::*;

impl Engine<'_> {
    pub(super) fn plug(&mut self, plug: &schema::Plug) -> Result<(), Trouble> {
        let deadline = self.deadline(plug.within.as_deref())?;
        let size = units::size(&plug.size).map_err(Trouble::Error)?;
        let taken = self.guest.plug(plug, deadline)?;
        let (device, error, osts) = match taken {
            Ok(device) if plug.race => (Some(device), None, Vec::new()),
            Ok(device) => {
                let osts = self.guest.wait_inserted(&plug.dimm, deadline);
                let osts =
                    self.within(osts, &[], || format!("the guest's answer to the plug of {}", plug.dimm))?;
                (Some(device), None, osts)
            }
            Err(error) => (None, Some(error), Vec::new()),
        };
        if plug.race && device.is_some() {
            self.racing.push(plug.dimm.clone());
        }
        if let Some(udev) = self.udev.as_mut().filter(|_| device.is_some()) {
            udev.announced(&plug.dimm);
        }
        self.observe(Observation::Plug(Plug {
            dimm: plug.dimm.clone(),
            size,
            want_refused: plug.refused.clone(),
            error,
            device,
            osts,
            race: plug.race,
        }))?;
        self.settle()
    }

    /// Has the guest take pages until one is of this DIMM. That none comes is no fact about the kernel: it may prefer others.
    pub(super) fn touch(&mut self, dimm: &str) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        let plug = self.guest.plugs.iter().rfind(|plug| plug.dimm == dimm);
        let (pfn, count) = plug
            .map(|plug| (plug.addr / PAGE, plug.size / PAGE))
            .ok_or_else(|| Trouble::Error(format!("{dimm} was never plugged")))?;
        let timeout_ms = u64::try_from(self.span(None)?.as_millis()).unwrap_or(u64::MAX);
        let job = self.guest.start(Job::Touch { pfn, count, timeout_ms }, deadline)?;
        // The guest says itself that its time is up; only a guest that says nothing is waited for longer.
        let patience = Deadline::within(self.span(None)? * 2);
        match self.guest.wait_job(job, patience)?.result {
            Ok(JobOutcome::Touched { pfn, t_ns }) => self.times.used(pfn, t_ns),
            other => return Err(Trouble::Error(format!("touch {dimm}: {other:?}"))),
        }
        self.settle()
    }

    pub(super) fn unplug(&mut self, unplug: &schema::Unplug) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        let error = if unplug.by_guest {
            let block = self.blocks(&unplug.dimm, Order::AsGiven)?.first().copied();
            let none = || Trouble::Error(format!("{} has no block to reach its slot by", unplug.dimm));
            self.guest.eject(&unplug.dimm, block.ok_or_else(none)?, deadline)?;
            None
        } else {
            self.guest.unplug(&unplug.dimm, deadline)?.err()
        };
        self.observe(Observation::Unplug(Unplug {
            dimm: unplug.dimm.clone(),
            want_refused: unplug.refused.clone(),
            error,
            by_guest: unplug.by_guest,
            contested: self.udev.as_ref().is_some_and(|udev| udev.owes(&unplug.dimm)),
        }))?;
        self.settle()
    }

    pub(super) fn unplug_outcome(
        &mut self,
        dimm: &str,
        want: &[Outcome],
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let ended = self.guest.unplug_outcome(dimm, deadline);
        let blocks = self.judge.layout().map(|l| l.blocks_of(dimm).map(|(number, _)| number).collect());
        let blocks: Vec<u32> = blocks.unwrap_or_default();
        let (outcome, osts, deleted) =
            self.within(ended, &blocks, || format!("the outcome of the unplug of {dimm}"))?;
        self.unplugs.push(format!("{dimm}: {}", outcome.word()));
        self.observe(Observation::UnplugOutcome(UnplugOutcome {
            dimm: dimm.to_string(),
            outcome,
            osts,
            deleted,
            want: want.to_vec(),
        }))?;
        self.settle()
    }
}
