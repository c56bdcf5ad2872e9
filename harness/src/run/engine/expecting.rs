//! Expectations of a case: what is asked of the guest for each.

use super::*;

impl Engine<'_> {
    pub(super) fn expect(&mut self, expect: &schema::Expect) -> Result<(), Trouble> {
        let deadline = self.deadline(expect.within.as_deref())?;
        if let Some(dimm) = &expect.unplug {
            let want = errno::outcomes(expect.outcome.as_deref()).map_err(Trouble::Error)?;
            return self.unplug_outcome(dimm, &want, deadline);
        }
        if let Some(path) = &expect.file {
            return self.expect_file(path, expect, deadline);
        }
        if let Some(pattern) = &expect.console {
            let line = match self.line_before(pattern)? {
                Some(line) => Some(line),
                None => self.guest.console_line(pattern, &mut self.console_from, deadline)?,
            };
            if self.console_from > 0 {
                self.said_before.clear();
            }
            return self.observe(Observation::Console { pattern: pattern.clone(), line });
        }
        if let Some(selection) = &expect.pinned {
            return self.expect_pinned(selection, deadline);
        }
        match &expect.blocks {
            Some(selection) => self.expect_blocks(selection, expect, deadline),
            None => Err(Trouble::Error("an expectation of nothing".into())),
        }
    }

    /// The first line of the saved guest's console that matches, and that no expectation is past.
    fn line_before(&mut self, pattern: &str) -> Result<Option<String>, Trouble> {
        let regex = regex::Regex::new(pattern).map_err(|e| Trouble::Error(e.to_string()))?;
        let matching = self.said_before.iter().position(|line| regex.is_match(line));
        Ok(matching.and_then(|at| self.said_before.drain(..=at).next_back()))
    }

    pub(super) fn expect_file(
        &mut self,
        path: &str,
        expect: &schema::Expect,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let path = self.block_paths(path)?;
        let want_errno = expect.errno.as_deref().map(errno::by_name).transpose().map_err(Trouble::Error)?;
        let value = self.guest.read(&path, deadline)?;
        let (want, want_line) = (expect.is.clone(), expect.line.clone());
        let mut file = File { path, value, want, want_line, want_errno };
        while expect.within.is_some() && !file.fits() && !deadline.left().is_zero() {
            file.value = self.guest.read(&file.path, self.deadline(None)?)?;
        }
        self.observe(Observation::File(file))
    }

    /// Proof by page flags; without it the case shows nothing.
    pub(super) fn expect_pinned(&mut self, selection: &str, deadline: Deadline) -> Result<(), Trouble> {
        let blocks = self.blocks(selection, Order::AsGiven)?;
        let ranges: Vec<_> = blocks.into_iter().map(|block| self.judge.pfns(block)).collect();
        if self.guest.scan(&ranges, deadline)?.iter().any(|flags| scan::unmovable(flags) > 0) {
            return Ok(());
        }
        Err(Trouble::Error(format!("no unmovable page lies in {selection}: the case shows nothing")))
    }

    pub(super) fn expect_blocks(
        &mut self,
        selection: &str,
        expect: &schema::Expect,
        deadline: Deadline,
    ) -> Result<(), Trouble> {
        let settles = std::mem::take(&mut self.racing);
        let mut osts = BTreeMap::new();
        for dimm in &settles {
            let inserted = self.guest.wait_inserted(dimm, deadline);
            let told = self.within(inserted, &[], || format!("the guest's answer to the plug of {dimm}"))?;
            osts.insert(dimm.clone(), told);
        }
        if !settles.is_empty() {
            // The state must be known before it can be taken over; it is judged below.
            let settled = self.read_state()?;
            self.observe(Observation::Raced { settled: Box::new(settled), dimms: settles.clone(), osts })?;
        }
        let blocks = self.blocks(selection, Order::AsGiven)?;
        let spread = |text: &Option<String>| match text {
            Some(words) => errno::spread(words, blocks.len()).map_err(Trouble::Error),
            None => Ok(Vec::new()),
        };
        self.observe(Observation::Blocks(Blocks {
            states: spread(&expect.state)?,
            zones: spread(&expect.zone)?,
            valid_zones: expect.valid_zones.clone(),
            uniform: expect.uniform,
            blocks,
        }))?;
        self.settle()
    }
}
