//! Steps that write to files of the guest: any file, the blocks of a selection one by one, in the background.

use super::*;

impl Engine<'_> {
    pub(super) fn write(&mut self, write: &schema::Write) -> Result<(), Trouble> {
        let path = self.block_paths(&write.path)?;
        let errno = self.guest.write(&path, &write.text, self.deadline(None)?)?;
        let want = write.errno.as_deref().map(errno::by_name).transpose().map_err(Trouble::Error)?;
        if let Some(udev) = self.udev.as_mut().filter(|_| errno == 0) {
            udev.written(&path, &write.text);
        }
        self.observe(Observation::Write(Write { path, text: write.text.clone(), errno, want }))?;
        self.settle()
    }

    /// `${BLOCK:a[0]}` becomes the block's directory.
    pub(super) fn block_paths(&self, path: &str) -> Result<String, Trouble> {
        let Some((before, rest)) = path.split_once("${BLOCK:") else { return Ok(path.to_string()) };
        let (selection, after) =
            rest.split_once('}').ok_or_else(|| Trouble::Error(format!("no closing brace in {path:?}")))?;
        let block = self.block(selection)?;
        Ok(format!("{before}/sys/devices/system/memory/memory{block}{after}"))
    }

    pub(super) fn blocks(&self, selection: &str, order: Order) -> Result<Vec<u32>, Trouble> {
        let layout =
            self.judge.layout().ok_or_else(|| Trouble::Error("the guest has not answered".into()))?;
        select(layout, selection, order, self.seed).map_err(|e| Trouble::Error(e.to_string()))
    }

    pub(super) fn block(&self, selection: &str) -> Result<u32, Trouble> {
        match self.blocks(selection, Order::AsGiven)?.as_slice() {
            [block] => Ok(*block),
            many => Err(Trouble::Error(format!("{selection:?} is {} blocks, one is needed", many.len()))),
        }
    }

    pub(super) fn set(&mut self, set: &schema::Set) -> Result<(), Trouble> {
        let want = errno::results(&set.result).map_err(Trouble::Error)?;
        for block in self.blocks(&set.blocks, set.order)? {
            let deadline = self.deadline(None)?;
            let path = format!("/sys/devices/system/memory/memory{block}/{}", set.attribute.file());
            let job = self.guest.start_write(&path, &set.to, deadline)?;
            let ended = self.guest.wait_write(job, deadline);
            let what = || format!("the end of writing {:?} to {path}", set.to);
            let (_, errno) = self.written_within(ended, job, block, what)?;
            self.refused.extend((errno != 0).then_some(block));
            self.observe(Observation::BlockWrite(BlockWrite {
                block,
                attribute: set.attribute,
                text: set.to.clone(),
                errno,
                want: want.clone(),
            }))?;
            self.settle()?;
        }
        Ok(())
    }

    /// A write that has not ended in time is looked at, and then interrupted.
    fn written_within<T>(
        &mut self,
        ended: Result<T, Trouble>,
        job: u64,
        block: u32,
        what: impl Fn() -> String,
    ) -> Result<T, Trouble> {
        let ended = self.within(ended, &[block], what);
        if matches!(ended, Err(Trouble::Found)) {
            self.guest.interrupt(job)?;
        }
        ended
    }

    pub(super) fn start(&mut self, start: &schema::Start) -> Result<(), Trouble> {
        let block = self.block(&start.block)?;
        let path = format!("/sys/devices/system/memory/memory{block}/state");
        let job = self.guest.start_write(&path, &start.to, self.deadline(None)?)?;
        self.started.insert(start.name.clone(), Started { job, block, text: start.to.clone(), ended: None });
        Ok(())
    }

    pub(super) fn finish_write(&mut self, finish: &schema::Finish) -> Result<(), Trouble> {
        let deadline = self.deadline(None)?;
        let want = errno::results(&finish.result).map_err(Trouble::Error)?;
        let unknown = || Trouble::Error(format!("no write named {:?} was started", finish.name));
        let Started { job, block, .. } = *self.started.get(&finish.name).ok_or_else(unknown)?;
        if finish.interrupt {
            self.guest.interrupt(job)?;
        }
        let ended = self.guest.wait_write(job, deadline);
        let (t_ns, errno) =
            self.written_within(ended, job, block, || format!("the end of {}", finish.name))?;
        if let Some(started) = self.started.get_mut(&finish.name) {
            started.ended = Some(Ended { t_ns, errno, want });
        }
        if self.started.values().any(|s| s.ended.is_none()) {
            return Ok(());
        }
        self.overlapping()
    }

    /// All background writes have ended: they are judged together, in the order of their ends.
    pub(super) fn overlapping(&mut self) -> Result<(), Trouble> {
        let mut ended: Vec<(u64, BlockWrite)> = Vec::new();
        for (_, started) in std::mem::take(&mut self.started) {
            let Some(end) = started.ended else { continue };
            self.refused.extend((end.errno != 0).then_some(started.block));
            let (attribute, text) = (schema::Attribute::State, started.text);
            let write =
                BlockWrite { block: started.block, attribute, text, errno: end.errno, want: end.want };
            ended.push((end.t_ns, write));
        }
        ended.sort_by_key(|(t, _)| *t);
        self.observe(Observation::Overlapping { writes: ended.into_iter().map(|(_, w)| w).collect() })?;
        self.settle()
    }
}
