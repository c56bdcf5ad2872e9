//! Writes: the errno that the oracle permits, and what the model becomes.

use super::*;

/// Files that poison the page at the address written to them (drivers/base/memory.c, CONFIG_MEMORY_FAILURE).
const POISON: [&str; 2] =
    ["/sys/devices/system/memory/hard_offline_page", "/sys/devices/system/memory/soft_offline_page"];

impl State {
    pub(super) fn write(&mut self, context: &Context, write: &Write) -> Judged {
        let mut findings = Vec::new();
        let parameter = write.path.strip_prefix(facts::PARAMETERS).and_then(|rest| rest.strip_prefix('/'));
        let ruled = match (write.path.as_str(), parameter) {
            (AUTO_ONLINE, _) => Some(self.knobs.write_auto_online(&write.text)),
            (EJECT_ENABLED, _) => Some(self.knobs.write_eject_enabled(&write.text)),
            (_, Some(name)) => Some(self.knobs.write_param(&context.subject, name, &write.text)?),
            _ => None,
        };
        let known = ruled.is_some();
        if let Some(now) = self.now.knobs.get(&write.path).filter(|_| write.errno == 0) {
            let mut words: Vec<&str> = write.text.split_whitespace().collect();
            if write.path.starts_with("/proc/sys/") && !words.is_empty() {
                // kernel/sysctl.c:do_proc_dointvec: numbers that are not given stay
                words.extend(now.split(' ').skip(words.len()));
            }
            if reserve::is_reserve(&write.path) {
                // a leading 0 makes it octal or hexadecimal (lib/vsprintf.c:simple_strntoull)
                let decimal = |text: &&str| *text == "0" || !text.starts_with('0');
                let number = Some(write.text.trim()).filter(decimal).and_then(|text| text.parse().ok());
                self.reserves_written.insert(write.path.clone(), number);
            } else if ruled.as_ref().is_none_or(Result::is_ok) && !words.is_empty() {
                self.written.insert(write.path.clone(), words.join(" "));
                if write.path == facts::MIN_FREE {
                    self.min_free_written = Some(self.now.managed_pages());
                }
            }
        }
        if write.path.starts_with(facts::CPUS) {
            self.written.insert(write.path.clone(), write.text.trim().to_string());
        }
        if POISON.contains(&write.path.as_str()) && write.errno == 0 {
            let text = write.text.trim();
            let address = text.strip_prefix("0x").map_or(text.parse(), |hex| u64::from_str_radix(hex, 16));
            self.poisoned.extend(address.ok().map(|a| a / policy::PAGE_BYTES));
        }
        if let Some(ruled) = ruled {
            let (expected, rule) = match ruled {
                Ok(ruling) => (0, ruling.to_string()),
                Err(refusal) => (refusal.errno.code(), refusal.ruling.to_string()),
            };
            if expected != write.errno {
                let (expected, seen) = (errno::name(expected), errno::name(write.errno));
                findings.push(Finding::new("write.errno", &*write.path, expected, seen, rule));
            }
        }
        let want = write.want.unwrap_or(if known { write.errno } else { 0 });
        if findings.is_empty() && want != write.errno {
            let (expected, seen) = (errno::name(want), errno::name(write.errno));
            findings.push(Finding::new("write.errno", &*write.path, expected, seen, "the case says so"));
        }
        Ok(findings)
    }

    pub(super) fn block_write(&mut self, context: &Context, write: &BlockWrite) -> Judged {
        let (layout, knobs, subject) = (&self.layout, &self.knobs, &context.subject);
        let permitted = match write.attribute {
            Attribute::State => policy::write_state(layout, knobs, subject, write.block, &write.text)?,
            Attribute::Online => policy::write_online(layout, knobs, subject, write.block, &write.text)?,
        };
        let fact = format!("block.write.{}", write.attribute.file());
        let subject_of = format!("{:?} to memory{}/{}", write.text, write.block, write.attribute.file());
        let seen = errno::name(write.errno);
        if !write.want.is_empty() && !write.want.contains(&write.errno) {
            let expected: Vec<String> = write.want.iter().map(|e| errno::name(*e)).collect();
            return Ok(vec![Finding::new(fact, subject_of, expected.join(" or "), seen, "the case says so")]);
        }
        // An errno that the case names is right though the oracle does not know it (injected errors).
        let named = !write.want.is_empty() && write.errno != 0;
        let code = |o: &policy::Outcome| match o {
            policy::Outcome::Done { .. } => 0,
            policy::Outcome::Failed(e) => e.code(),
        };
        let allowed = permitted.allowed.iter().find(|a| code(&a.outcome) == write.errno);
        let Some(allowed) = allowed else {
            if named {
                return Ok(Vec::new());
            }
            let expected: Vec<String> =
                permitted.allowed.iter().map(|a| errno::name(code(&a.outcome))).collect();
            let rules: Vec<String> = permitted.allowed.iter().map(|a| a.ruling.to_string()).collect();
            return Ok(vec![Finding::new(fact, subject_of, expected.join(" or "), seen, rules.join("; "))]);
        };
        let wanted = |a: &&policy::Allowed| write.want.is_empty() || write.want.contains(&code(&a.outcome));
        let usual = permitted.allowed.iter().filter(wanted).filter(|a| !a.only_under_pressure).count();
        self.luck |= usual > 1 || allowed.only_under_pressure;
        let before = self.layout.blocks.get(&write.block).map_or(BlockState::Offline, |b| b.state);
        self.expected.push(policy::expect_write(write.block, before, &allowed.outcome));
        match write.attribute {
            Attribute::State => {
                policy::apply_write_state(&mut self.layout, write.block, &write.text, &allowed.outcome);
            }
            Attribute::Online => policy::apply_write_online(&mut self.layout, write.block, &allowed.outcome),
        }
        Ok(Vec::new())
    }

    /// Writes that overlapped are right if they are in some order; the order of their ends is tried first.
    pub(super) fn overlapping(&mut self, context: &Context, writes: &[BlockWrite]) -> Judged {
        self.luck |= writes.len() > 1;
        self.concurrent |= writes.len() > 1 || !self.expected.is_empty();
        let mut first: Option<Vec<Finding>> = None;
        for order in orders(writes.len()) {
            let before = (self.layout.clone(), self.expected.clone());
            let mut findings = Vec::new();
            for index in order {
                findings.extend(self.block_write(context, &writes[index])?);
            }
            if findings.is_empty() {
                return Ok(findings);
            }
            (self.layout, self.expected) = before;
            first.get_or_insert(findings);
        }
        Ok(first.unwrap_or_default())
    }
}

/// All orders of `n` things, the given one first; of more than four only that one.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n > 4 || n == 0 {
        return vec![(0..n).collect()];
    }
    let mut all = vec![Vec::new()];
    for _ in 0..n {
        let more = |order: &Vec<usize>| {
            let order = order.clone();
            (0..n).filter(move |i| !order.contains(i)).collect::<Vec<_>>()
        };
        all = all
            .iter()
            .flat_map(|o| more(o).into_iter().map(|i| [o.as_slice(), &[i]].concat()).collect::<Vec<_>>())
            .collect();
    }
    all
}
