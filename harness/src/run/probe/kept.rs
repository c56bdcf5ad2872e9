//! Answers of probe boots in the cache: a second run of a kernel boots nothing to know it.

use super::{Probed, SIGNS, machine};
use crate::kernel::{Cache, Config, Kernel, Notice, at, sha256};
use crate::policy::Subject;
use crate::run::host::Host;
use crate::run::{spec, templates};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Kind of the entries in the cache.
const KIND: &str = "probes";
/// The file of an entry.
const FILE: &str = "answer.json";
/// Changes when another probe is made, or more is asked.
const FORMAT: &str = "memhp probe 1";

/// What a kernel answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) subject: Subject,
    pub(super) config: Config,
}

impl From<Answer> for Probed {
    fn from(Answer { subject, config }: Answer) -> Self {
        Self::Subject(Box::new(subject), config)
    }
}

/// Where the answer of a kernel is kept.
pub(super) struct Place {
    cache: Cache,
    key: String,
}

impl Place {
    /// Of the image, and of all that shapes a probe boot; `None` where one of them cannot be told.
    pub(super) fn of(host: &Host, kernel: &Kernel) -> Option<Self> {
        let signs: Vec<String> = SIGNS.iter().map(|s| format!("{}={}/{}", s.option, s.dir, s.name)).collect();
        let parts = [
            FORMAT.to_string(),
            kernel.sha256.clone(),
            kernel.version.to_string(),
            host.plain_initramfs().ok()?.sha256,
            spec::PROBE.to_string(),
            format!("{:?}", spec::machine(&machine(), host).ok()?),
            host.accel.word().to_string(),
            String::from_utf8_lossy(&templates::program(&host.qemu.path).ok()?).into_owned(),
            signs.join(" "),
        ];
        Some(Self::at(Cache::of_user().ok()?, &parts))
    }

    fn at(cache: Cache, parts: &[String]) -> Self {
        Self { cache, key: sha256(parts.join("\n").as_bytes()) }
    }

    /// The answer of an earlier run; one that is damaged is removed.
    pub(super) fn answer(&self) -> Option<Answer> {
        let dir = self.cache.entry(KIND, &self.key, &tell).ok()??;
        serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Keeps an answer. A cache that takes nothing costs the next run a boot.
    pub(super) fn keep(&self, answer: &Answer) {
        let write = |dir: &Path| {
            let path = dir.join(FILE);
            let text = serde_json::to_vec(answer).expect("strings and numbers always serialize");
            std::fs::write(&path, text).map_err(at("writing", &path))?;
            Ok(vec![FILE])
        };
        if let Err(error) = self.cache.entry_or_build(KIND, &self.key, &tell, write) {
            tracing::info!("the answer of a probe boot is not kept: {error}");
        }
    }
}

fn tell(notice: Notice) {
    tracing::info!("{notice}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::OnlineType;

    #[test]
    fn an_answer_is_kept_for_its_kernel_alone_and_not_used_when_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let place = |kernel: &str| {
            Place::at(Cache::at(dir.path().to_path_buf()), &[FORMAT.to_string(), kernel.to_string()])
        };
        let subject = Subject::usual("6.12.1".parse().unwrap(), OnlineType::OnlineMovable);
        let answer = Answer { subject, config: Config::seen(vec![("NUMA", true), ("KSM", false)]) };
        assert_eq!(place("one").answer(), None);
        place("one").keep(&answer);
        assert_eq!(place("one").answer(), Some(answer));
        assert_eq!(place("two").answer(), None);
        let file = dir.path().join(KIND).join(place("one").key).join(FILE);
        std::fs::write(&file, b"{}").unwrap();
        // another process: this one has seen the seal
        assert_eq!(place("one").answer(), None);
    }
}
